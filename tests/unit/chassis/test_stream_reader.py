"""Messages of a stream out of the parts that a request body comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from chassis.asgi_grpc import CallerGoneError, StreamReader
from chassis.listen import HostOptions, ListenAddress
from chassis.rpc import RpcError, StatusCode
from chassis.streams import OpenStreams, StreamBounds, guarded_streams
from chassis.tls import TlsOptions
from helpers.transport_rig import frame

LIMIT = 100


def reader(parts: Iterable[bytes], *, is_ended: bool = True, frame_seconds: float = 5.0) -> StreamReader:
    """Return a reader of a body that comes in these parts; without an end nothing comes after them."""
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting) or not is_ended}

    return StreamReader(receive, LIMIT, frame_seconds)


async def read(reading: StreamReader, encoding: bytes = b"identity") -> list[bytes]:
    return [message async for message in reading.messages(encoding)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
async def test_messages_are_the_same_however_the_body_is_cut(size: int):
    messages = [b"", b"a", b"b" * LIMIT, b"", b"cc"]
    body = b"".join(frame(message) for message in messages)
    assert await read(reader(body[at : at + size] for at in range(0, len(body), size))) == messages


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (frame(b"a") + b"\0\0\0", b"identity", StatusCode.INTERNAL),
        (frame(b"a") + b"\0\0\0\0\5abc", b"identity", StatusCode.INTERNAL),
        (b"\2\0\0\0\1a", b"identity", StatusCode.INTERNAL),
        (b"\1\0\0\0\1a", b"gzip", StatusCode.UNIMPLEMENTED),
        (b"\0\0\0\0\x65", b"identity", StatusCode.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", b"identity", StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_what_is_no_message_ends_the_stream(body: bytes, encoding: bytes, code: StatusCode):
    with pytest.raises(RpcError) as caught:
        await read(reader([body]), encoding)
    assert caught.value.code is code


async def test_rest_of_a_message_is_not_waited_for_long():
    with pytest.raises(RpcError, match="did not come"):
        await read(reader([frame(b"a") + b"\0\0"], is_ended=False, frame_seconds=0.05))


async def test_caller_that_goes_ends_the_stream():
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(CallerGoneError):
        await read(StreamReader(receive, LIMIT, 5.0))


async def test_one_stream_too_many_is_refused_and_the_place_comes_back():
    async def collect(messages: Any) -> bytes:
        return b",".join([message async for message in messages])

    streams = OpenStreams({}, 30.0, StreamBounds(max_streams=1))
    held = asyncio.create_task(streams.serve(collect, reader([frame(b"a")], is_ended=False).messages(b"identity")))
    await asyncio.sleep(0)
    with pytest.raises(RpcError) as caught:
        await streams.serve(collect, reader([frame(b"b")]).messages(b"identity"))
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    streams.close()
    assert await held == b"a"
    with pytest.raises(RpcError) as caught:
        await streams.serve(collect, reader([frame(b"b")]).messages(b"identity"))
    assert caught.value.code is StatusCode.UNAVAILABLE


MUTUAL = TlsOptions("a.pem", "a.key", "ca.pem", ("spiffe://a/envoy",))
NAMED = replace(MUTUAL, method_sans=(("/s/Collect", ("spiffe://a/logger",)),))


@pytest.mark.parametrize(
    ("options", "is_served"),
    [
        (HostOptions(ListenAddress.parse("127.0.0.1:0")), True),
        (HostOptions(ListenAddress.parse("unix:/run/x.sock")), True),
        (HostOptions(ListenAddress.parse("127.0.0.1:0"), tls=MUTUAL), True),
        (HostOptions(ListenAddress.parse("10.0.0.1:0"), is_insecure_listen=True), False),
        (HostOptions(ListenAddress.parse("10.0.0.1:0"), tls=MUTUAL), False),
        (HostOptions(ListenAddress.parse("10.0.0.1:0"), tls=NAMED), True),
        (HostOptions(ListenAddress.parse("0.0.0.0:0"), tls=NAMED), True),
    ],
)
async def test_stream_is_refused_where_nobody_knows_who_calls(options: HostOptions, is_served: bool):
    async def collect(messages: Any) -> bytes:
        return b"collected"

    handler = guarded_streams({"/s/Collect": collect}, options)["/s/Collect"]
    if is_served:
        assert await handler(reader([b""]).messages(b"identity")) == b"collected"
        return
    with pytest.raises(RpcError) as caught:
        await handler(reader([b""]).messages(b"identity"))
    assert caught.value.code is StatusCode.PERMISSION_DENIED
