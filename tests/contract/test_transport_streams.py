"""What a stream of messages meets on either transport: as it comes, bounded, over when the service stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import grpc
import pytest

from helpers.echo_service import PACKAGE, SECRET
from helpers.transport_rig import OPTIONS, TRANSPORTS, EchoProcess, can_run, until

STREAM_SECONDS = 3.0
STREAMING = replace(OPTIONS, max_stream_seconds=STREAM_SECONDS)


@pytest.fixture(scope="module", params=TRANSPORTS)
def streaming(request: pytest.FixtureRequest) -> Iterator[EchoProcess]:
    if not can_run(request.param):
        pytest.skip("no shared libpython here")
    with EchoProcess(request.param, STREAMING) as process:
        yield process.serving()


async def send(server: EchoProcess, *messages: bytes, method: str = "Collect") -> bytes:
    async with grpc.aio.insecure_channel(server.address) as channel:
        return await channel.stream_unary(PACKAGE + method)(iter(messages), timeout=20.0)


async def refusal(server: EchoProcess, *messages: bytes, method: str = "Collect") -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(server, *messages, method=method)
    return caught.value.code().name, caught.value.details() or ""


async def test_every_message_arrives_in_order_and_one_answer_comes(streaming: EchoProcess):
    messages = [b"%d" % number for number in range(500)]
    assert await send(streaming, *messages) == b",".join(messages)
    assert await send(streaming) == b""
    assert await send(streaming, b"") == b""


async def test_messages_are_taken_while_the_stream_goes_on(streaming: EchoProcess):
    before, gate = streaming.count("echo_collected_total"), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b" * 60_000
        await gate.wait()
        yield b"c"

    async with grpc.aio.insecure_channel(streaming.address) as channel:
        call = channel.stream_unary(PACKAGE + "Collect")(slowly(), timeout=20.0)
        await asyncio.to_thread(until, lambda: streaming.count("echo_collected_total") == before + 2, "two messages")
        gate.set()
        assert (await call).endswith(b",c")


async def test_refusal_in_the_middle_keeps_its_code_and_the_next_stream_is_served(streaming: EchoProcess):
    assert await refusal(streaming, b"a", b"refuse", b"b") == ("INVALID_ARGUMENT", "not this one")
    assert await send(streaming, b"a", b"b") == b"a,b"


async def test_bug_in_a_handler_is_internal_and_its_text_stays_in_the_log(streaming: EchoProcess):
    assert await refusal(streaming, b"a", method="CrashCollect") == ("INTERNAL", "internal error")
    assert SECRET in streaming.output()


async def test_message_above_the_cap_is_resource_exhausted(streaming: EchoProcess):
    limit = STREAMING.max_message_bytes
    assert (await refusal(streaming, b"a", b"x" * (limit + 1)))[0] == "RESOURCE_EXHAUSTED"
    assert len(await send(streaming, b"x" * limit, b"x" * limit)) == 2 * limit + 1


async def test_unknown_stream_is_unimplemented(streaming: EchoProcess):
    assert (await refusal(streaming, b"a", method="Nope"))[0] == "UNIMPLEMENTED"


async def test_stream_whose_caller_says_nothing_more_ends_with_its_answer(streaming: EchoProcess):
    async def once() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async with grpc.aio.insecure_channel(streaming.address) as channel:
        began = time.monotonic()
        assert await channel.stream_unary(PACKAGE + "Collect")(once(), timeout=20.0) == b"a"
        assert time.monotonic() - began >= STREAM_SECONDS / 2


async def test_caller_that_leaves_ends_its_handler(streaming: EchoProcess):
    before = streaming.count('echo_ended_total{how="stream"}')

    async def once() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async with grpc.aio.insecure_channel(streaming.address) as channel:
        call = channel.stream_unary(PACKAGE + "Collect")(once(), timeout=20.0)
        task = asyncio.ensure_future(call.wait_for_connection())
        await task
        call.cancel()
    await asyncio.to_thread(
        until, lambda: streaming.count('echo_ended_total{how="stream"}') > before, "the end of the handler"
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_open_stream_does_not_hold_the_stop_up_and_has_its_answer(transport: str):
    if not can_run(transport):
        pytest.skip("no shared libpython here")
    options = replace(OPTIONS, max_stream_seconds=60.0, drain_seconds=8.0)
    with EchoProcess(transport, options) as server:
        server.serving()
        sent = asyncio.Event()

        async def once() -> AsyncIterator[bytes]:
            yield b"a"
            sent.set()
            await asyncio.Event().wait()

        async with grpc.aio.insecure_channel(server.address) as channel:
            call = channel.stream_unary(PACKAGE + "Collect")(once(), timeout=20.0)
            await asyncio.to_thread(until, lambda: server.count("echo_collected_total") == 1, "a message")
            server.terminate()
            assert await call == b"a"
        began = time.monotonic()
        assert await asyncio.to_thread(server.exit_code) == 0
        assert time.monotonic() - began < options.drain_seconds
