"""The contract between a service and a transport: bytes in, bytes out, under a deadline.

A transport (`asgi_grpc`, `grpcio_server`) owns framing, sizes, deadlines and status mapping; a
service owns the meaning of the bytes. Neither knows the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import IntEnum


class StatusCode(IntEnum):
    """gRPC status codes (github.com/grpc/grpc, doc/statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class RpcError(Exception):
    """End the call with a status.

    Attributes:
        code: gRPC status code, never OK.
        message: Fixed text that may reach the peer; never exception text or request data.
    """

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


UnaryHandler = Callable[[bytes, float], Awaitable[bytes]]
"""`await handler(message, deadline)`.

`message` is one serialised request; `deadline` is a time on `Clock.monotonic()` after which nobody
listens any more (the caller's `grpc-timeout`, capped by the service). Returns one serialised
response or raises `RpcError`; any other exception becomes INTERNAL with fixed text.
"""

StreamHandler = Callable[[AsyncIterator[bytes]], Awaitable[bytes]]
"""`await handler(messages)`: one call that brings any number of messages (client streaming).

Each message is one serialised request, in the order they were sent; they end when the caller ends the call, and also
when the transport does (`streams`). Returns one serialised response or raises `RpcError`.
"""

StreamMethods = Mapping[str, StreamHandler]
"""Full method path to its handler."""

Shed = Callable[[], bytes]
"""`shed()` returns the answer to a call that is not worked on: a refusal, at a small part of a decision's cost."""

Sheds = Mapping[str, Shed]
"""Full method path to what answers its calls under overload; a method without one is never shed."""

Methods = Mapping[str, UnaryHandler]
"""Full method path, such as `/envoy.service.auth.v3.Authorization/Check`, to its handler."""
