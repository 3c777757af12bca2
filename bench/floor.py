"""The floor: the least a service on a transport can do, which is to read its request and answer.

It parses the same request bytes with the same protobuf messages and returns a constant. On Envoy it
bypasses our gRPC adapter, on grpcio it is a bare handler. What it counts, it shows as a service does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

from bench.cases import EXPECTED_VERDICTS, EXTAUTHZ, METHODS, RATELIMIT
from chassis.asgi_grpc import Receive, Scope, Send
from chassis.asgi_host import AsgiHost
from chassis.host import StopSignals, serving_line, start_host
from chassis.listen import HostOptions
from chassis.rpc import Methods, Sheds, StreamMethods
from chassis.service import Readiness, Service
from chassis.settings import read_host_options
from protos import envoy_wire_pb2 as wire

_PREFIX_BYTES: Final = 5
_START: Final[dict[str, Any]] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_TRAILERS: Final[dict[str, Any]] = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}


class FloorService:
    """A service without a method of its own; it only shows how many requests it answered.

    Attributes:
        name: `extauthz` or `ratelimit`.
        answered: Requests parsed and answered so far.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.methods: Methods = {}
        self.sheds: Sheds = {}
        self.streams: StreamMethods = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.answered = 0
        self.answer, self._message = _constant(name)

    def parse(self, data: bytes) -> None:
        """Read one request; raises DecodeError."""
        self._message().ParseFromString(data)
        self.answered += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Show the count under the name that the services use."""
        family = CounterMetricFamily("tollhouse_decisions", "Answers.", labels=("service", "verdict"))
        family.add_metric((self.name, EXPECTED_VERDICTS[self.name]), self.answered)
        yield family

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def readiness(self) -> Readiness:
        """Say that it is always ready."""
        return Readiness(True)

    def policy_status(self) -> dict[str, Any]:
        """Say nothing: there is no policy."""
        return {}


def _constant(name: str) -> tuple[bytes, type[Message]]:
    if name == EXTAUTHZ:
        response = wire.CheckResponse(ok_response=wire.OkHttpResponse())
        response.status.code = 0
        return response.SerializeToString(), wire.CheckRequest
    return wire.RateLimitResponse(overall_code=wire.RateLimitResponse.OK).SerializeToString(), wire.RateLimitRequest


class FloorApp:
    """What Envoy's Python filter runs: lifespan and admin pages as for a service, calls straight through."""

    def __init__(self, name: str) -> None:
        self._service = FloorService(name)
        self._host = AsgiHost(self._make)
        answer = self._service.answer
        framed = b"\0" + len(answer).to_bytes(4, "big") + answer
        self._body = {"type": "http.response.body", "body": framed, "more_body": False}

    def _make(self) -> tuple[Service, HostOptions]:
        return self._service, read_host_options()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan or one call."""
        if scope["type"] != "http":
            await self._host(scope, receive, send)
            return
        event = await receive()
        body = event["body"]
        while event["more_body"]:
            event = await receive()
            body += event["body"]
        self._service.parse(body[_PREFIX_BYTES:])
        await send(_START)
        await send(self._body)
        await send(_TRAILERS)


extauthz_app = FloorApp(EXTAUTHZ)
ratelimit_app = FloorApp(RATELIMIT)


async def serve_floor_grpcio(name: str, options: HostOptions) -> int:
    """Serve the floor behind grpc.aio until SIGTERM."""
    service = FloorService(name)

    async def answer(message: bytes, _context: object) -> bytes:
        service.parse(message)
        return service.answer

    signals = StopSignals()
    with signals.installed():
        host = await start_host(lambda: (service, options))
        path = METHODS[name].rpartition("/")
        handlers = {path[2]: grpc.unary_unary_rpc_method_handler(answer)}
        server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(path[0].lstrip("/"), handlers)])
        bound = options.listen.with_port(server.add_insecure_port(str(options.listen)))
        await server.start()
        print(serving_line(name, str(bound), "grpcio", host.admin_url), file=sys.stderr, flush=True)
        await signals.first.wait()
        await server.stop(None)
        await host.stop()
    return 0
