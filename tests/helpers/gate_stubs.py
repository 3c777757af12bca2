"""Stand-ins for the services behind Envoy, for tests of the filter chain alone.

A stub extauthz answers with what the test set; both stubs speak real gRPC and answer health checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from protos import envoy_wire_pb2 as wire
from protos import health_pb2

Handler = Callable[[bytes, object], Awaitable[bytes]]

HANDOFF: dict[str, Any] = {
    "handoff": "2",
    "merchant_id": "m_active",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": "1250",
    "card_key": "none",
    "sub_merchant": "none",
    "payer": "none",
    "device": "none",
    "ip": "none",
    "idempotency": "none",
    "decision_id": "0123456789abcdef0123456789abcdef",
    "policy_revision": "0123456789abcdef",
}


def allow(metadata: dict[str, Any] | None = None) -> wire.CheckResponse:
    """Return an allow with this dynamic metadata; None for none."""
    response = wire.CheckResponse(ok_response=wire.OkHttpResponse())
    if metadata is not None:
        response.dynamic_metadata.update(metadata)
    return response


def set_header(name: str) -> wire.CheckResponse:
    """Return an allow that sets a request header."""
    response = allow(HANDOFF)
    response.ok_response.headers.add().header.MergeFrom(wire.HeaderValue(key=name, value="/elsewhere"))
    return response


class StubExtauthz:
    """Answers every Check with `answer`, or never while `is_silent`; keeps the requests."""

    def __init__(self) -> None:
        self.answer = allow(HANDOFF)
        self.requests: list[wire.CheckRequest] = []
        self.is_silent = False

    async def check(self, data: bytes, _context: object) -> bytes:
        self.requests.append(wire.CheckRequest.FromString(data))
        if self.is_silent:
            await asyncio.Event().wait()  # until Envoy gives up
        return self.answer.SerializeToString()

    @property
    def method(self) -> tuple[str, str, Handler]:
        """The call that it answers: service, method, handler."""
        return "envoy.service.auth.v3.Authorization", "Check", self.check


class StubRatelimit:
    """Answers every ShouldRateLimit with `answer`."""

    def __init__(self) -> None:
        self.answer = b""

    async def should_rate_limit(self, _data: bytes, _context: object) -> bytes:
        return self.answer

    @property
    def method(self) -> tuple[str, str, Handler]:
        """The call that it answers: service, method, handler."""
        return "envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit", self.should_rate_limit


@asynccontextmanager
async def serving(stub: StubExtauthz | StubRatelimit, port: int) -> AsyncIterator[None]:
    """Serve the stub on a loopback port."""

    async def health(_data: bytes, _context: object) -> bytes:
        response = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        return response.SerializeToString()

    server = grpc.aio.server()
    for service, method, handler in (
        stub.method,
        ("grpc.health.v1.Health", "Check", health),
    ):
        handlers = {method: grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
