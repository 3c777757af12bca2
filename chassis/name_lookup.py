"""Looks names up for the HTTP client, on threads that nothing waits for.

The event loop's own look-ups share four threads with each other. A zone that does not answer holds each for ten
seconds and more, so a few token issuers whose names cannot be looked up would take the names of all others, and the
store's, along; and the process would not end before the last of them is through.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

MAX_LOOKUPS: Final = 128
"""At once, in the process: as many as one client has connections."""

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_running = threading.BoundedSemaphore(MAX_LOOKUPS)


class NameLookup(AbstractResolver):
    """Asks the system (`getaddrinfo`); whoever stops waiting leaves the thread behind, which ends by itself."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host` for TCP.

        Raises:
            OSError: There are none (`socket.gaierror`), or too many names are being looked up.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        places = _running
        if not places.acquire(blocking=False):
            raise OSError("too many names are being looked up")

        def look_up() -> None:
            try:
                found: list[Any] | OSError = socket.getaddrinfo(
                    host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except (OSError, UnicodeError) as error:
                found = error if isinstance(error, OSError) else OSError("no name")
            finally:
                places.release()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(_tell, answer, found)

        threading.Thread(target=look_up, name="name-lookup", daemon=True).start()
        return [_result(host, entry) for entry in await answer]

    async def close(self) -> None:
        """Do nothing: threads end by themselves."""


def _tell(answer: asyncio.Future[list[Any]], found: list[Any] | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _result(name: str, entry: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, place = entry
    return ResolveResult(
        hostname=name, host=str(place[0]), port=int(place[1]), family=family, proto=protocol, flags=_NUMERIC
    )
