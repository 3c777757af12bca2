"""Lets callers of the admin pages in, so many at a time: the pages share their process with the calls of a service.

Used by `admin.AdminServer`. Its law: nobody needs a token to connect, so connecting alone must cost the service next to
nothing. Without these bounds a thousand idle connections would take every file descriptor that a process may have, and
no call would be accepted any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from typing import Final

from aiohttp import web

from chassis.listen import ListenAddress, remove_dead_socket

MAX_CONNECTIONS: Final = 64
"""Open at the same time; the next ones are closed at once."""

IDLE_SECONDS: Final = 15.0
"""How long a connection may be without a whole request; longer than scrapers and probes need."""

HANDSHAKE_SECONDS: Final = 5.0
_BACKLOG: Final = 64
_RETRY_SECONDS: Final = 0.1

log = logging.getLogger("chassis.admin")


class AdminListener:
    """The listening socket of the admin pages."""

    def __init__(
        self,
        server: web.Server,
        address: ListenAddress,
        tls: ssl.SSLContext | None,
        max_per_peer: int = MAX_CONNECTIONS,
    ) -> None:
        """Bind.

        Args:
            server: Serves the connections.
            address: Where.
            tls: Server context; None: plain HTTP.
            max_per_peer: Connections that one address may have open, so that one alone does not keep all others out.

        Raises:
            OSError: The address cannot be bound.
        """
        self._server = server
        self._tls = tls
        self._max_per_peer = max_per_peer
        self._socket = _bound(address)
        self._opening: dict[asyncio.Task[None], str] = {}
        self._accepting = asyncio.create_task(self._accept())

    @property
    def port(self) -> int:
        """Return the port that was bound, 0 for a Unix socket."""
        name = self._socket.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def stop(self) -> None:
        """Let nobody else in; connections that are open stay open."""
        tasks = (self._accepting, *self._opening)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, place = await loop.sock_accept(self._socket)
            except OSError:
                # No descriptor is left; accepted connections that end give some back.
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            peer = _peer(place)
            peers = [*(_peer_of(handler) for handler in self._server.connections), *self._opening.values()]
            if len(peers) >= MAX_CONNECTIONS or peers.count(peer) >= self._max_per_peer:
                connection.close()
                continue
            opening = asyncio.create_task(self._open(connection))
            self._opening[opening] = peer
            opening.add_done_callback(self._opening.pop)

    async def _open(self, connection: socket.socket) -> None:
        patience = None if self._tls is None else HANDSHAKE_SECONDS
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server, connection, ssl=self._tls, ssl_handshake_timeout=patience
            )
        except OSError:
            connection.close()  # a caller that is no good at TLS, or has gone; nothing to tell


def _peer_of(handler: web.RequestHandler) -> str:
    return "" if handler.transport is None else _peer(handler.transport.get_extra_info("peername"))


def _peer(place: object) -> str:
    """Return the address that a connection comes from; empty for a Unix socket."""
    return str(place[0]) if isinstance(place, tuple) else ""


def _bound(address: ListenAddress) -> socket.socket:
    if address.unix_path is not None:
        listening = _bound_unix(address.unix_path)
    else:
        # `localhost` is 127.0.0.1, as it is for the calls.
        host = "127.0.0.1" if address.host in (None, "localhost") else str(address.host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, address.port or 0), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def _bound_unix(path: str) -> socket.socket:
    remove_dead_socket(path)
    listening = socket.socket(socket.AF_UNIX)
    with contextlib.ExitStack() as undo:
        undo.callback(listening.close)
        listening.bind(path)
        os.chmod(path, 0o600)
        listening.listen(_BACKLOG)
        undo.pop_all()
    return listening
