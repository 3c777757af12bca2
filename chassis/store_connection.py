"""redis-py connections that look their host up beside the event loop (chassis/name_lookup.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection

from chassis.name_lookup import NameLookup

_LOOKUP = NameLookup()


class LookedUpConnection(Connection):  # type: ignore[misc]  # redis-py is not typed for us
    """A TCP connection; one time-out holds for the name and all of its addresses."""

    _address: str = ""

    async def _connect(self) -> None:
        refused: OSError = OSError("the name has no address")
        async with asyncio.timeout(self.socket_connect_timeout):
            # In the system's order, and on to the next where nothing listens: "localhost" has two.
            for found in await _LOOKUP.resolve(self.host, int(self.port)):
                self._address = found["host"]
                try:
                    await super()._connect()
                except OSError as error:
                    refused = error
                else:
                    return
        raise refused

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "host": self._address}


class LookedUpTlsConnection(SSLConnection, LookedUpConnection):  # type: ignore[misc]  # as above
    """The same with TLS: the certificate has to name the host, not the address that it was found at."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self.host}
