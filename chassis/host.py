"""One running service with its health, admin pages and drain state, whichever the transport.

Used by `grpcio_server` in its own process and by `asgi_host` inside Envoy, so that both start, drain
and stop in the same order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge

from chassis.admin import AdminServer
from chassis.admin_access import AdminAccess, AdminToken
from chassis.admin_tls import admin_context
from chassis.clock import SystemClock
from chassis.health import CHECK_METHOD, HostState, health_check
from chassis.listen import HostOptions
from chassis.overload import LoadGate
from chassis.rpc import Methods
from chassis.secret_file import SecretInvalid
from chassis.service import Service, StartRefused
from chassis.streams import OpenStreams, guarded_streams
from chassis.tls_files import TlsInvalid, TlsWatch
from chassis.tls_metrics import register_tls

log = logging.getLogger(__name__)

_INSECURE_GAUGE = "tollhouse_insecure_listen"


class ServiceHost:
    """A service between start and stop.

    Attributes:
        methods: The service's own methods and the health check.
        admin_url: Where the admin pages are once started; None for none.
        options: How it is served.
        tls: The certificates in use; None without TLS.
        load: Says which calls are worked on.
        streams: The calls that bring streams of messages.
    """

    def __init__(self, service: Service, options: HostOptions) -> None:
        """Put the parts together; raises StartRefused if the TLS files cannot be served with."""
        self.tls = _open_tls(options)
        self.state = HostState(is_insecure_listen=options.is_insecure_listen)
        self.methods: Methods = {**service.methods, CHECK_METHOD: health_check(service, self.state)}
        self.load = LoadGate(service.sheds, service.registry, SystemClock())
        self.streams = OpenStreams(guarded_streams(service.streams, options), options.max_stream_seconds)
        self.admin_url: str | None = None
        self.options = options
        self._service = service
        self._admin = _admin_server(service, self.state, options, self.tls)
        _register_insecure_listen(service.registry, options)
        if self.tls is not None:
            self.state.tls_warnings = self.tls.warnings
            register_tls(service.registry, self.tls)

    @property
    def name(self) -> str:
        """The service's name."""
        return self._service.name

    async def start(self) -> None:
        """Start the service, then its admin pages; raises StartRefused."""
        await self._service.start()
        if self.tls is not None:
            await self.tls.start()
        if self._admin is None:
            return
        try:
            self.admin_url = await self._admin.start()
        except OSError as error:
            await self._stop_parts()
            raise StartRefused((f"the admin pages cannot be served: {error.strerror or error}",)) from error

    def begin_drain(self) -> None:
        """Show NOT_SERVING from now on; calls are still answered, and streams end once callers have seen it."""
        self.state.is_draining = True
        asyncio.get_running_loop().call_later(self.options.lame_duck_seconds, self.streams.close)

    async def stop(self) -> None:
        """End the streams and the admin pages, then the service."""
        self.streams.close()
        if self._admin is not None:
            await self._admin.stop()
        await self._stop_parts()

    async def _stop_parts(self) -> None:
        if self.tls is not None:
            await self.tls.stop()
        await self._service.stop()


def _open_tls(options: HostOptions) -> TlsWatch | None:
    if options.tls is None:
        return None
    try:
        return TlsWatch(options.tls, SystemClock())
    except TlsInvalid as problem:
        raise StartRefused((str(problem),)) from None


async def start_host(make: Callable[[], tuple[Service, HostOptions]]) -> ServiceHost:
    """Build and start a service; whatever goes wrong, the reason is a text for a person.

    Raises:
        StartRefused: The service refused, or failed in a way that only the log may tell.
    """
    try:
        host = ServiceHost(*make())
        await host.start()
    except StartRefused:
        raise
    except Exception as error:
        log.exception("start_failed")
        raise StartRefused(("the service failed to start; the log says why",)) from error
    return host


def serving_line(name: str, address: str, transport: str, admin_url: str | None) -> str:
    """Return the one line that says where a service listens."""
    admin = f", admin on {admin_url}" if admin_url else ""
    return f"{name} serving on {address} (transport {transport}){admin}"


class StopSignals:
    """Asks to stop: the first ends the service in order, the second cuts that short.

    Attributes:
        first: Set by SIGTERM, SIGINT or the caller.
        second: Set by a further signal.
    """

    def __init__(self, first: asyncio.Event | None = None) -> None:
        self.first = first or asyncio.Event()
        self.second = asyncio.Event()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the signals meanwhile; only the main thread can."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        for number in signals:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def pause(self, seconds: float) -> bool:
        """Wait; return False at once when the second signal comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.second.wait()
        return not self.second.is_set()

    def _on_signal(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _admin_server(service: Service, state: HostState, options: HostOptions, tls: TlsWatch | None) -> AdminServer | None:
    if options.admin is None:
        return None
    token = None if options.admin_token_file is None else AdminToken(options.admin_token_file)
    if token is not None:
        try:
            token.read()
        except SecretInvalid as error:
            raise StartRefused(error.problems) from error
        state.admin_warnings = token.warnings
    is_exposed = not options.admin.is_local
    context = admin_context(options.tls, tls) if is_exposed and options.tls is not None and tls is not None else None
    return AdminServer(service, state, options.admin, AdminAccess(token, context))


def _register_insecure_listen(registry: CollectorRegistry, options: HostOptions) -> None:
    if registry.get_sample_value(_INSECURE_GAUGE) is not None:
        return  # the service counts it itself
    gauge = Gauge(
        _INSECURE_GAUGE,
        "1 when the listener can be reached from other machines without mutual TLS",
        registry=registry,
    )
    gauge.set(options.is_insecure_listen)
