"""Oracles of the gRPC adapter: it serves exactly one whole, plain message a call, and refuses all else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from chassis.asgi_grpc import GrpcAdapter, parse_timeout
from chassis.clock import SystemClock
from chassis.listen import HostOptions, ListenAddress
from chassis.overload import LoadGate
from chassis.rpc import RpcError
from helpers.fuzzing.engine import Target

LIMIT = 256
_OPTIONS = HostOptions(ListenAddress.parse("127.0.0.1:0"), max_message_bytes=LIMIT)
_HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def run_frame(data: bytes) -> None:
    """First byte: into how many chunks the body comes apart; the rest: the body."""
    chunks, body = data[0] % 7 + 1 if data else 1, data[1:]
    seen, events = _serve(_chunks(body, chunks))
    expected = one_message(body)
    assert len(seen) <= 1
    if expected is None:
        assert _status(events) not in (None, b"0"), "no message and yet an OK"
        assert not any(event.get("body") for event in events)
    else:
        assert seen == [expected]
        assert _status(events) == b"0"
        assert b"".join(event.get("body", b"") for event in events) == b"\0" + body[1:5] + expected


def one_message(body: bytes) -> bytes | None:
    """Return the message of a body that is one plain frame within the limit, else None."""
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5], "big") != len(body) - 5:
        return None
    return body[5:] if len(body) - 5 <= LIMIT else None


def _chunks(body: bytes, count: int) -> list[Mapping[str, Any]]:
    size = -(-len(body) // count) or 1
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, start=1)
    ]


def _serve(chunks: list[Mapping[str, Any]]) -> tuple[list[bytes], list[dict[str, Any]]]:
    seen: list[bytes] = []
    events: list[dict[str, Any]] = []

    async def echo(message: bytes, deadline: float) -> bytes:
        seen.append(message)
        return message

    async def receive() -> Mapping[str, Any]:
        return chunks.pop(0)

    async def send(event: dict[str, Any]) -> None:
        events.append(event)

    adapter = GrpcAdapter({"/echo": echo}, _OPTIONS, SystemClock(), LoadGate({}, CollectorRegistry(), SystemClock()))
    scope = {"type": "http", "method": "POST", "path": "/echo", "raw_path": b"/echo", "headers": _HEADERS}
    loop = _loop()
    loop.run_until_complete(adapter(scope, receive, send))
    return seen, events


_loops: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    if not _loops:
        _loops.append(asyncio.new_event_loop())
    return _loops[0]


def close() -> None:
    """Close the event loop that the executions shared."""
    while _loops:
        _loops.pop().close()


def _status(events: list[dict[str, Any]]) -> bytes | None:
    headers = [dict(event["headers"]) for event in events if "headers" in event]
    found = [block[b"grpc-status"] for block in headers if b"grpc-status" in block]
    assert len(found) <= 1, "two statuses"
    return found[0] if found else None


def run_timeout(data: bytes) -> None:
    """Any bytes as `grpc-timeout`: the seconds of PROTOCOL-HTTP2.md, or a refusal."""
    match = re.fullmatch(rb"([0-9]{1,8})([HMSmun])", data)
    try:
        seconds = parse_timeout(data)
    except RpcError:
        assert match is None, "a good timeout was refused"
        return
    assert match is not None, "a malformed timeout was read"
    scale = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}[match[2]]
    assert abs(seconds - int(match[1]) * scale) <= 1e-9 * max(1.0, seconds)


REQUEST_FRAME = Target(
    "request_frame",
    run_frame,
    ("chassis/asgi_grpc.py",),
    (b"\0\0\0\0\0", b"\0\0\0\0\1x", b"\1\0\0\0\1x", b"\0\xff\xff\xff\xff", b"\0\0\0\1\0", b"\0\0\0\1\1"),
    LIMIT * 2,
)
GRPC_TIMEOUT = Target(
    "grpc_timeout",
    run_timeout,
    ("chassis/asgi_grpc.py",),
    (b"S", b"m", b"99999999", b"-", b"+", b" ", b"_", "٣".encode()),
    16,
)
