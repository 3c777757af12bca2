"""More calls than there is room for, and peers that open much and finish nothing, on either transport."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import grpc
import pytest

from chassis.asgi_grpc import ARRIVAL_HEADER
from chassis.overload import LoadBounds
from helpers.echo_service import PACKAGE
from helpers.memory import resident_megabytes
from helpers.transport_rig import EchoProcess, RawCall, frame, until

LONG = 20.0  # seconds; longer than any deadline of the server
ROOM = LoadBounds().max_in_flight
CONNECTIONS = 250
GROWTH_MEGABYTES = 96.0


def pids(server: EchoProcess) -> list[int]:
    return [server.process.pid, server.child()] if server.transport == "envoy" else [server.process.pid]


async def sheddable(channel: grpc.aio.Channel, seconds: float) -> bytes:
    reply: bytes = await channel.unary_unary(PACKAGE + "Sheddable")(str(seconds).encode(), timeout=LONG)
    return reply


async def test_call_beyond_the_room_is_answered_at_once_and_there_is_room_again(server: EchoProcess):
    # Each connection of its own: one carries no more calls at a time than there is room for.
    first, second = (
        grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(2)
    )
    async with first, second:
        channels = [first if number % 2 else second for number in range(ROOM)]
        filling = [asyncio.create_task(sheddable(channel, 3.0)) for channel in channels]
        await asyncio.to_thread(until, lambda: server.count("tollhouse_in_flight") >= ROOM, "the room is full")

        assert await sheddable(first, 0.0) == b"shed"
        assert server.count('tollhouse_shed_total{why="room"}') >= 1
        assert await second.unary_unary(PACKAGE + "Echo")(b"never shed", timeout=LONG) == b"never shed"

        assert set(await asyncio.gather(*filling)) == {b"slept"}
        assert await sheddable(first, 0.0) == b"slept"


async def test_caller_does_not_say_since_when_its_call_waits(server: EchoProcess):
    before = server.count('tollhouse_shed_total{why="time"}')

    assert await call_since(server, b"1") == b"slept"
    assert server.count('tollhouse_shed_total{why="time"}') == before


async def call_since(server: EchoProcess, seconds_since_1970: bytes) -> bytes:
    async with grpc.aio.insecure_channel(server.address) as channel:
        reply: bytes = await channel.unary_unary(PACKAGE + "Sheddable")(
            b"0", timeout=LONG, metadata=[(ARRIVAL_HEADER.decode(), seconds_since_1970.decode())]
        )
    return reply


async def test_answer_after_the_deadline_is_no_answer(server: EchoProcess):
    with RawCall(server.address, "Late", {"grpc-timeout": "200m"}) as raw:
        answer = raw.send(frame(b"")).answer()

    assert answer.is_refused
    assert b"too late" not in answer.body


@pytest.mark.parametrize(
    ("method", "body", "is_last"),
    [
        pytest.param("Echo", frame(b"half of it")[:7], False, id="requests that never end"),
        pytest.param("Echo", b"", False, id="requests without a byte"),
        pytest.param("Echo", frame(b"x" * 16_000), True, id="answers that nobody reads"),
    ],
)
async def test_many_peers_that_finish_nothing_cost_bounded_memory(
    server: EchoProcess, method: str, body: bytes, is_last: bool
):
    before = resident_megabytes(pids(server))
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            peer = stack.enter_context(RawCall(server.address, method, {"grpc-timeout": "3S"}))
            peer.send(body, is_last=is_last)
        with RawCall(server.address) as other:
            assert other.send(frame(b"next")).answer().body == frame(b"next")
        assert resident_megabytes(pids(server)) - before < GROWTH_MEGABYTES
    await asyncio.to_thread(until, lambda: server.count("tollhouse_in_flight") == 0, "all calls have ended")
