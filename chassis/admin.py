"""Admin pages of a service: is it alive, is it ready, what does it count, which policy.

Started by `host.ServiceHost` on the service's own event loop, so `/healthz` also proves that the loop
turns. Its law: read only, nothing secret, and off loopback only for whoever shows a token.
"""

from __future__ import annotations

import contextlib
import html
import logging

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from chassis.admin_access import HEADERS, AdminAccess, only_local_names
from chassis.admin_listener import IDLE_SECONDS, AdminListener
from chassis.health import HostState
from chassis.listen import ListenAddress, remove_dead_socket
from chassis.service import Service

_PAGES = {
    "/healthz": "200 while the process answers",
    "/readyz": "200 when calls may be sent here, else 503 and why not",
    "/metrics": "counters, Prometheus text format",
    "/policy": "active policy revision, since when, last reload error",
}
_SHUTDOWN_SECONDS = 1.0


class AdminServer:
    """The admin pages of one service."""

    def __init__(
        self,
        service: Service,
        state: HostState,
        address: ListenAddress,
        access: AdminAccess = AdminAccess(),  # noqa: B008
    ) -> None:
        if not address.is_local and access.token is None:
            raise ValueError(f"admin pages on {address} are reachable from other machines; that needs a token")
        self._access = access
        self._service = service
        self._state = state
        self._address = address
        self._runner: web.AppRunner | None = None
        self._listener: AdminListener | None = None

    async def start(self) -> str:
        """Serve; return the address as a URL or `unix:PATH`.

        Raises:
            OSError: If the address cannot be bound.
        """
        app = web.Application(middlewares=self._middlewares())
        app.router.add_get("/", self._index)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/policy", self._policy)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            logger=_http_log(),
        )
        await self._runner.setup()
        try:
            return self._bind(self._runner)
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
            if self._address.unix_path is not None:
                with contextlib.suppress(OSError):
                    remove_dead_socket(self._address.unix_path)

    def _middlewares(self) -> list[Middleware]:
        names = [only_local_names] if self._address.host and self._address.is_local else []
        return [*names, *([] if self._access.token is None else [self._access.token.middleware])]

    def _bind(self, runner: web.AppRunner) -> str:
        address, tls = self._address, self._access.tls
        if runner.server is None:
            raise RuntimeError("the runner is set up before it is bound")
        self._listener = AdminListener(runner.server, address, tls)
        if address.unix_path is not None:
            return str(address)
        return f"{'http' if tls is None else 'https'}://{address.with_port(self._listener.port)}/"

    async def _index(self, request: web.Request) -> web.Response:
        name = html.escape(self._service.name)
        rows = "".join(f'<li><a href="{path}">{path}</a>: {text}</li>' for path, text in _PAGES.items())
        page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><h1>{name}</h1><ul>{rows}</ul>"
        return web.Response(text=page, content_type="text/html", headers=HEADERS)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=HEADERS)

    async def _readyz(self, request: web.Request) -> web.Response:
        readiness = self._service.readiness()
        waiting_for = [*readiness.waiting_for, *(["drain: the process is stopping"] if self._state.is_draining else [])]
        is_ready = readiness.is_ready and not self._state.is_draining
        warnings = [*readiness.warnings, *self._state.tls_warnings(), *self._state.admin_warnings()]
        if not self._address.is_local and self._access.tls is None:
            warnings.append("the admin token crosses the network in clear: these pages have no TLS")
        if self._state.is_insecure_listen:
            warnings.append("insecure listen: other machines reach this service without mutual TLS")
        body = {"ready": is_ready, "waiting_for": waiting_for, "warnings": warnings}
        return _json(body, status=200 if is_ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        text = generate_latest(self._service.registry)
        return web.Response(body=text, headers={**HEADERS, "Content-Type": CONTENT_TYPE_LATEST})

    async def _policy(self, request: web.Request) -> web.Response:
        return _json(self._service.policy_status(), status=200)


def _http_log() -> logging.Logger:
    log = logging.getLogger("chassis.admin.http")
    log.addFilter(_is_our_fault)
    return log


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Leave out requests that cannot be read: whoever sends them would fill the log with tracebacks."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def _json(body: object, *, status: int) -> web.Response:
    text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=text, status=status, content_type="application/json", headers=HEADERS)
