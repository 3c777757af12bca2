"""The gRPC-over-ASGI adapter, event by event: exact statuses, sizes and texts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pytest
from prometheus_client import CollectorRegistry

from chassis.asgi_grpc import GrpcAdapter, parse_timeout
from chassis.clock import SystemClock
from chassis.listen import HostOptions, ListenAddress
from chassis.overload import LoadGate
from chassis.rpc import RpcError, StatusCode

LIMIT = 100
OPTIONS = HostOptions(ListenAddress.parse("127.0.0.1:0"), max_message_bytes=LIMIT, max_timeout_seconds=2.0)
HEADERS = {"content-type": "application/grpc", "te": "trailers"}


def frame(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


class Exchange:
    """One call against the adapter: a fake host on the other side."""

    def __init__(self, chunks: Iterable[bytes] = (), *, is_cut: bool = False, send_error: Exception | None = None):
        self._chunks = list(chunks)
        self._is_cut = is_cut
        self._send_error = send_error
        self.received = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.received >= len(self._chunks):
            if self._is_cut:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.received += 1
        body = self._chunks[self.received - 1]
        return {"type": "http.request", "body": body, "more_body": self._is_cut or self.received < len(self._chunks)}

    async def send(self, event: dict[str, Any]) -> None:
        if self._send_error is not None:
            raise self._send_error
        self.sent.append(event)

    async def run(self, headers: dict[str, str] | None = None, path: str = "/s/Echo", method: str = "POST") -> Exchange:
        pairs = [(name.encode(), value.encode()) for name, value in (HEADERS if headers is None else headers).items()]
        scope = {"type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(), "headers": pairs}
        load = LoadGate({}, CollectorRegistry(), SystemClock())
        adapter = GrpcAdapter({"/s/Echo": echo, "/s/Refuse": refuse}, OPTIONS, SystemClock(), load)
        await adapter(scope, self.receive, self.send)
        return self

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(pair for event in self.sent for pair in event.get("headers", ()))

    @property
    def grpc_status(self) -> int:
        return int(self.headers[b"grpc-status"])

    @property
    def http_status(self) -> int:
        return self.sent[0]["status"]


async def echo(message: bytes, deadline: float) -> bytes:
    return message


async def refuse(message: bytes, deadline: float) -> bytes:
    raise RpcError(StatusCode.NOT_FOUND, "100 %\n\u00e4 ~!")


async def test_answer_is_start_body_and_trailers():
    call = await Exchange([frame(b"hi")]).run()
    assert [event["type"] for event in call.sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]
    assert call.sent[1]["body"] == frame(b"hi")
    assert call.grpc_status == 0


@pytest.mark.parametrize("chunks", [[b"", frame(b"hi")], [frame(b"hi")[:2], frame(b"hi")[2:]], [frame(b"hi"), b""]])
async def test_message_in_pieces_is_put_together(chunks: list[bytes]):
    assert (await Exchange(chunks).run()).sent[1]["body"] == frame(b"hi")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(frame(b"short")[:-1], StatusCode.INTERNAL, id="message cut"),
        pytest.param(b"\0\0", StatusCode.INTERNAL, id="prefix cut"),
        pytest.param(frame(b"x") + b"\0", StatusCode.INTERNAL, id="trailing bytes"),
        pytest.param(frame(b"x", flag=2), StatusCode.INTERNAL, id="unknown flag"),
        pytest.param(frame(b"x", flag=1), StatusCode.INTERNAL, id="compressed, encoding not named"),
        pytest.param(frame(b"x") + frame(b""), StatusCode.UNIMPLEMENTED, id="two messages"),
        pytest.param(b"", StatusCode.UNIMPLEMENTED, id="no message"),
        pytest.param(frame(b"x" * (LIMIT + 1)), StatusCode.RESOURCE_EXHAUSTED, id="too large"),
        pytest.param(b"\0\xff\xff\xff\xff", StatusCode.RESOURCE_EXHAUSTED, id="announced too large"),
    ],
)
async def test_broken_body_has_its_status(body: bytes, status: StatusCode):
    call = await Exchange([body]).run()
    assert call.grpc_status == status
    assert call.http_status == 200


async def test_compressed_message_is_unimplemented_and_told_what_is_read():
    call = await Exchange([frame(b"x", flag=1)]).run({**HEADERS, "grpc-encoding": "gzip"})
    assert call.grpc_status == StatusCode.UNIMPLEMENTED
    assert call.headers[b"grpc-accept-encoding"] == b"identity"


async def test_method_has_one_spelling():
    call = await Exchange([frame(b"x")]).run(path="/s/Ech%6f")
    assert call.grpc_status == StatusCode.UNIMPLEMENTED


async def test_too_large_message_is_not_read_to_its_end():
    call = await Exchange([frame(b"x" * 10_000)[:20], *[b"x" * 20] * 499]).run()
    assert call.grpc_status == StatusCode.RESOURCE_EXHAUSTED
    assert call.received == 1


async def test_message_that_lies_about_its_length_is_cut_off_at_the_cap():
    call = await Exchange([frame(b""), *[b"x" * 20] * 500]).run()
    assert call.grpc_status == StatusCode.RESOURCE_EXHAUSTED
    assert call.received < 10


async def test_declared_length_above_the_cap_is_refused_unread():
    call = await Exchange().run({**HEADERS, "content-length": "9" * 30})
    assert call.grpc_status == StatusCode.RESOURCE_EXHAUSTED
    assert call.received == 0


async def test_status_message_is_percent_encoded():
    call = await Exchange([frame(b"")]).run(path="/s/Refuse")
    assert call.headers[b"grpc-message"] == b"100 %25%0A%C3%A4 ~!"
    assert call.grpc_status == StatusCode.NOT_FOUND


@pytest.mark.parametrize("content_type", ["", "application/json", "application/grpc-web", "application/grpc+json"])
async def test_other_content_type_is_http_415(content_type: str):
    call = await Exchange([frame(b"")]).run({**HEADERS, "content-type": content_type})
    assert call.http_status == 415
    assert b"grpc-status" not in call.headers


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;v=1"])
async def test_grpc_content_types_are_read(content_type: str):
    assert (await Exchange([frame(b"")]).run({**HEADERS, "content-type": content_type})).grpc_status == 0


async def test_other_method_is_http_405():
    assert (await Exchange().run(method="GET")).http_status == 405


async def test_missing_te_is_internal():
    assert (await Exchange([frame(b"")]).run({"content-type": "application/grpc"})).grpc_status == StatusCode.INTERNAL


async def test_caller_gone_before_its_request_was_complete_gets_nothing():
    assert (await Exchange([frame(b"long")[:6]], is_cut=True).run()).sent == []
    assert (await Exchange([], is_cut=True).run()).sent == []


async def test_caller_gone_before_the_answer_raises_nothing():
    assert (await Exchange([frame(b"hi")], send_error=ConnectionResetError()).run()).sent == []


async def test_request_that_never_ends_is_deadline_exceeded():
    call = await Exchange().run({**HEADERS, "grpc-timeout": "10m"})
    assert call.grpc_status == StatusCode.DEADLINE_EXCEEDED


async def test_time_already_over_is_deadline_exceeded():
    call = await Exchange().run({**HEADERS, "grpc-timeout": "0n"})
    assert call.grpc_status == StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"250m", 0.25), (b"7u", 7e-6), (b"99999999n", 0.099999999)],
)
def test_timeout_has_its_units(header: bytes, seconds: float):
    assert parse_timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "header", [b"", b"S", b"1", b"1s", b"-1S", b"+1S", b"1.5S", b"123456789S", b" 1S", b"1 S", b"\xb2S"]
)
async def test_malformed_timeout_is_internal(header: bytes):
    with pytest.raises(RpcError) as caught:
        parse_timeout(header)
    assert caught.value.code is StatusCode.INTERNAL
