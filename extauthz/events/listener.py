"""The events listener: HTTPS of its own, with two paths and nothing else."""

from __future__ import annotations

import logging
import ssl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from chassis.admin_listener import IDLE_SECONDS, AdminListener
from chassis.listen import ListenAddress
from extauthz.events.pages import LOGOUT_PATH, PUSH_PATH, EventMeans, EventPages

MAX_PER_SENDER = 32
"""Connections of one address: half of all, so that no one address keeps the issuers out by saying nothing."""

_SHUTDOWN_SECONDS = 1.0


class EventListener:
    """Takes events of token issuers.

    Args:
        address: Where; without TLS on loopback alone.
        tls: Server context; None: plain HTTP, for development.
        means: What the pages work with.

    Raises:
        ValueError: Other machines reach the address, and there is no TLS.
    """

    def __init__(self, address: ListenAddress, tls: ssl.SSLContext | None, means: EventMeans) -> None:
        if not address.is_local and tls is None:
            raise ValueError(f"events on {address} are reachable from other machines; that needs TLS")
        self._address = address
        self._tls = tls
        self._means = means
        self._runner: web.AppRunner | None = None
        self._listener: AdminListener | None = None

    @property
    def port(self) -> int:
        """Return the port that was bound, 0 before the start."""
        return 0 if self._listener is None else self._listener.port

    async def start(self) -> None:
        """Serve; raises OSError if the address cannot be bound."""
        pages = EventPages(self._means)
        app = web.Application()
        app.router.add_post(LOGOUT_PATH, pages.logout)
        app.router.add_post(PUSH_PATH, pages.push)
        log = logging.getLogger("extauthz.events.http")
        log.addFilter(_is_our_fault)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, keepalive_timeout=IDLE_SECONDS, logger=log
        )
        await self._runner.setup()
        try:
            if self._runner.server is None:
                raise RuntimeError("the runner is set up before it is bound")
            self._listener = AdminListener(self._runner.server, self._address, self._tls, MAX_PER_SENDER)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Leave out requests that cannot be read: whoever sends them would fill the log with tracebacks."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
