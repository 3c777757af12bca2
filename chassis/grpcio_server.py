"""The `grpcio` transport: the service's methods behind grpc.aio, in this process.

The portable twin of `envoy_host`: same methods, same status mapping, same order of start and drain.
Its law: what a handler raises never reaches the peer as text (grpc.aio would send it).

Less strict than its twin where gRPC's C core decides:

* It looks at no content type, ignores what follows the first message, and hands on a frame that it
  cannot read as an empty message. A service must refuse an empty message, and does so by judging it.
* It cannot tell callers to leave and serve them meanwhile: calls that cross its GOAWAY end CANCELLED or
  UNAVAILABLE. So the drain first waits until calls cease, which callers that ask the health check see to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc

from chassis.clock import Clock, SystemClock
from chassis.descriptors import raise_descriptor_limit
from chassis.grpcio_tls import PeerCheck, credentials_of, peer_checks
from chassis.health import CHECK_METHOD
from chassis.host import ServiceHost, StopSignals, serving_line, start_host
from chassis.listen import UNIX_SOCKET_MODE, HostOptions, ListenAddress, remove_dead_socket
from chassis.overload import LoadGate
from chassis.patient_stream import say
from chassis.rpc import Methods, RpcError, StatusCode, StreamHandler, UnaryHandler
from chassis.service import Service, StartRefused
from chassis.streams import OpenStreams

log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_POLL_SECONDS = 0.05
_QUIET_POLLS = 6
"""Polls in a row without a call after which callers have left."""
_MAX_CONCURRENT_STREAMS = 1024
_HANDSHAKE_MS = 5000
"""How long a connection may take to prove who calls; callers that never do so must not keep all others out."""
_IDENTITY_ONLY = 1
"""Bit 0 of the compression mask: a compressed message is UNIMPLEMENTED, as on the other transport."""


async def serve_grpcio(
    make_service: Callable[[], Service],
    options: HostOptions,
    *,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or `stop`, then drain.

    Args:
        make_service: Builds the service; may raise StartRefused.
        options: Where and within which bounds.
        stop: Ends the service like SIGTERM when set.
        on_ready: Gets the bound address once calls are served.

    Returns:
        The exit code: 0 after a drain, 1 when the start was refused.
    """
    raise_descriptor_limit()
    signals = StopSignals(stop)
    with signals.installed():
        try:
            host = await start_host(lambda: (make_service(), options))
        except StartRefused as refused:
            say(str(refused))
            return 1
        try:
            return await _serve(host, options, signals, on_ready)
        finally:
            await host.stop()


class _Traffic:
    """Counts the service's own calls; health checks go on while a caller stays away.

    Attributes:
        started: Calls so far.
        in_flight: Calls not yet answered.
    """

    def __init__(self) -> None:
        self.started = 0
        self.in_flight = 0

    def counted(self, handler: UnaryHandler) -> UnaryHandler:
        """Return the handler, counted."""

        async def serve(message: bytes, deadline: float) -> bytes:
            self.started += 1
            self.in_flight += 1
            try:
                return await handler(message, deadline)
            finally:
                self.in_flight -= 1

        return serve


async def _serve(
    host: ServiceHost, options: HostOptions, signals: StopSignals, on_ready: Callable[[str], None] | None
) -> int:
    traffic = _Traffic()
    methods = {
        path: handler if path == CHECK_METHOD else traffic.counted(handler) for path, handler in host.methods.items()
    }
    server = _server(methods, options, SystemClock(), host)
    try:
        bound = _bind(server, options.listen, credentials_of(host.tls))
    except OSError as error:
        say(f"{options.listen} cannot be bound: {error.strerror}")
        return 1
    except RuntimeError:
        say(f"{options.listen} cannot be bound; gRPC's own line above says why")
        return 1
    await server.start()
    if bound.unix_path is not None:
        os.chmod(bound.unix_path, UNIX_SOCKET_MODE)
    say(serving_line(host.name, str(bound), "grpcio", host.admin_url))
    if on_ready is not None:
        on_ready(str(bound))
    await signals.first.wait()
    host.begin_drain()
    await signals.pause(options.lame_duck_seconds)
    await _drain(server, traffic, options.drain_seconds, signals)
    if bound.unix_path is not None:
        with contextlib.suppress(OSError):
            remove_dead_socket(bound.unix_path)
    return 0


async def _drain(server: grpc.aio.Server, traffic: _Traffic, seconds: float, signals: StopSignals) -> None:
    """Wait until calls cease, refuse new ones, wait for those in flight; a second signal ends the waiting."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(end):
            await _until_calls_cease(traffic, signals)
    stopping = asyncio.create_task(server.stop(max(end - loop.time(), 0.0)))
    impatient = asyncio.create_task(signals.second.wait())
    await asyncio.wait((stopping, impatient), return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    if not stopping.done():
        await server.stop(None)
    await stopping


async def _until_calls_cease(traffic: _Traffic, signals: StopSignals) -> None:
    quiet_polls, before = 0, traffic.started
    while quiet_polls < _QUIET_POLLS and await signals.pause(_POLL_SECONDS):
        is_quiet = traffic.in_flight == 0 and traffic.started == before
        quiet_polls, before = quiet_polls + 1 if is_quiet else 0, traffic.started


def _server(methods: Methods, options: HostOptions, clock: Clock, host: ServiceHost) -> grpc.aio.Server:
    return grpc.aio.server(
        handlers=[_Router(methods, options, clock, host)],
        options=[
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_concurrent_streams", _MAX_CONCURRENT_STREAMS),
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
            # Two processes on one port would silently share its calls.
            ("grpc.so_reuseport", 0),
        ],
    )


def _bind(server: grpc.aio.Server, address: ListenAddress, credentials: grpc.ServerCredentials | None) -> ListenAddress:
    if address.unix_path is not None:
        remove_dead_socket(address.unix_path)
    port = (
        server.add_insecure_port(str(address))
        if credentials is None
        else server.add_secure_port(str(address), credentials)
    )
    return address if address.unix_path is not None else address.with_port(port)


class _Router(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Hands raw request bytes to the handler of a method path; unknown paths are UNIMPLEMENTED."""

    def __init__(self, methods: Methods, options: HostOptions, clock: Clock, host: ServiceHost) -> None:
        check_of = peer_checks(options.tls)
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(
                _guarded(_shedding(path, _bounded(handler, options, clock), host.load, clock), check_of(path))
            )
            for path, handler in methods.items()
        } | {
            path: grpc.stream_unary_rpc_method_handler(_guarded(_streaming(handler, host.streams), check_of(path)))
            for path, handler in host.streams.methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of one call, None for an unknown method."""
        return self._handlers.get(handler_call_details.method)


def _guarded(serve: Callable[[Any, Any], Any], is_allowed: PeerCheck | None) -> Callable[[Any, Any], Any]:
    """Return the handler for the callers it is meant for; it never runs for others."""
    if is_allowed is None:
        return serve

    async def serve_allowed(message: Any, context: grpc.aio.ServicerContext) -> bytes:
        if not is_allowed(context.auth_context()):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this caller may not call this method")
        reply: bytes = await serve(message, context)
        return reply

    return serve_allowed


def _streaming(handler: StreamHandler, streams: OpenStreams) -> Callable[[Any, Any], Any]:
    """Return the handler of a client stream, ending each call with exactly one status."""

    async def serve(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        refusal = StatusCode.INTERNAL, "internal error"
        try:
            return await streams.serve(handler, _each(messages))
        except RpcError as error:
            refusal = error.code, error.message
        except Exception:
            log.exception("call_failed")
        await context.abort(_CODES[refusal[0]], refusal[1])
        raise AssertionError("abort always raises")

    return serve


async def _each(messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for message in messages:
        yield message


def _shedding(
    path: str, serve: Callable[[bytes, Any], Any], load: LoadGate, clock: Clock
) -> Callable[[bytes, Any], Any]:
    """Return the handler for the calls that there is room and time for; the others are answered at once."""

    async def serve_or_shed(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        shed = load.shed_by_rest(path, context.time_remaining(), context.peer())
        if shed is not None:
            return shed
        began = clock.monotonic()
        load.begin()
        try:
            reply: bytes = await serve(message, context)
            return reply
        finally:
            load.end(clock.monotonic() - began)

    return serve_or_shed


def _bounded(handler: UnaryHandler, options: HostOptions, clock: Clock) -> Callable[[bytes, Any], Any]:
    """Return the handler under a deadline, ending each call with exactly one status."""

    async def serve(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        remaining = context.time_remaining()
        timeout = options.default_timeout_seconds if remaining is None else remaining
        timeout = min(timeout, options.max_timeout_seconds)
        deadline = clock.monotonic() + timeout
        refusal = StatusCode.INTERNAL, "internal error"
        try:
            async with asyncio.timeout(timeout) as scope:
                reply = await handler(message, deadline)
            if clock.monotonic() <= deadline:
                return reply
            # Worked on without a pause until it was too late for the timeout to end it: no late allow leaves here.
            refusal = StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"
        except RpcError as error:
            refusal = error.code, error.message
        except TimeoutError:
            if scope.expired():
                refusal = StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"
            else:
                # A time-out that a handler let escape is a bug like any other.
                log.exception("call_failed")
        except Exception:
            log.exception("call_failed")
        await context.abort(_CODES[refusal[0]], refusal[1])
        raise AssertionError("abort always raises")

    return serve
