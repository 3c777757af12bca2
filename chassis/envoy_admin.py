"""The few questions and orders that a supervisor has for the Envoy it runs, over a private Unix socket."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from chassis.listen import ListenAddress

STAT_PREFIX = "calls"
LISTENER_NAME = "calls"

_REQUEST_SECONDS = 2.0
_ACTIVE = ("downstream_cx_active", "downstream_rq_active")


class EnvoyAwayError(Exception):
    """Envoy does not answer on its admin socket."""


class EnvoyAdmin:
    """Envoy's admin interface (Envoy docs, operations/admin)."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> EnvoyAdmin:
        """Open the client; connects when first asked something."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(self._socket)),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        if self._session is not None:
            await self._session.close()

    async def is_live(self) -> bool:
        """Return whether Envoy has opened its listeners."""
        try:
            status, _ = await self._ask("GET", "/ready")
        except EnvoyAwayError:
            return False
        return status == 200

    async def bound_address(self) -> ListenAddress:
        """Return where the listener is bound, with the port that the system chose; raises EnvoyAwayError."""
        _, body = await self._ask("GET", "/listeners?format=json")
        for listener in orjson.loads(body)["listener_statuses"]:
            if listener["name"] == LISTENER_NAME:
                return _listen_address(listener["local_address"])
        raise EnvoyAwayError("Envoy lists no listener")

    async def close_listener(self) -> None:
        """Accept no more connections and announce the end of each open one with its next response."""
        # This order: a caller that is told to leave must not be able to come back.
        await self._ask("POST", "/drain_listeners")
        await self._ask("POST", "/healthcheck/fail")

    async def active(self) -> tuple[int, int]:
        """Return the numbers of open connections and of calls in flight; raises EnvoyAwayError."""
        names = "|".join(_ACTIVE)
        _, body = await self._ask("GET", f"/stats?format=json&filter=^http\\.{STAT_PREFIX}\\.({names})$")
        values = {stat["name"].rpartition(".")[2]: stat["value"] for stat in orjson.loads(body)["stats"]}
        return values.get(_ACTIVE[0], 0), values.get(_ACTIVE[1], 0)

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        if self._session is None:
            raise EnvoyAwayError("the admin client is not open")
        try:
            async with self._session.request(method, f"http://envoy{path}") as answer:
                return answer.status, await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise EnvoyAwayError(str(error)) from error


def _listen_address(address: dict[str, Any]) -> ListenAddress:
    if "pipe" in address:
        return ListenAddress(None, None, address["pipe"]["path"])
    return ListenAddress(address["socket_address"]["address"], address["socket_address"]["port_value"], None)
