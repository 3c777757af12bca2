"""Which calls are shed, what they are answered, and that nothing late leaves as an answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chassis.asgi_grpc import ARRIVAL_HEADER, GrpcAdapter
from chassis.listen import HostOptions, ListenAddress
from chassis.overload import LoadBounds, LoadGate
from helpers.clock import FakeClock

PATH = "/s/Pay"
OPTIONS = HostOptions(ListenAddress.parse("127.0.0.1:0"))
NOW = 1_700_000_000.0


class Rig:
    """An adapter on a clock that stands still unless a handler moves it."""

    def __init__(self, bounds: LoadBounds | None = None) -> None:
        self.clock = FakeClock(NOW)
        self.registry = CollectorRegistry()
        self.load = LoadGate({PATH: lambda: b"shed"}, self.registry, self.clock, bounds or LoadBounds())
        self.worked_on = 0
        self.takes_seconds = 0.0
        self.blocked: asyncio.Event | None = None
        self.filled = asyncio.Event()
        methods = {PATH: self.work, "/s/Health": self.work}
        self._adapter = GrpcAdapter(methods, OPTIONS, self.clock, self.load)

    async def work(self, message: bytes, deadline: float) -> bytes:
        self.worked_on += 1
        self.clock.advance(self.takes_seconds)
        if self.load.in_flight == 3:
            self.filled.set()
        if self.blocked is not None:
            await self.blocked.wait()
        return b"allow"

    async def call(self, *, path: str = PATH, waited: float = 0.0, granted: str = "1S") -> tuple[bytes, bytes]:
        """Return the status and the message of one call."""
        headers = {
            b"content-type": b"application/grpc",
            b"te": b"trailers",
            b"grpc-timeout": granted.encode(),
            ARRIVAL_HEADER: f"{self.clock.wall() - waited:.3f}".encode(),
        }
        events: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"\0\0\0\0\1x", "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            events.append(event)

        scope = {"type": "http", "method": "POST", "raw_path": path.encode(), "headers": [*headers.items()]}
        await self._adapter(scope, receive, send)
        status = dict(pair for event in events for pair in event.get("headers", ()))[b"grpc-status"]
        return status, b"".join(event.get("body", b"") for event in events)[5:]

    def shed(self, why: str) -> float:
        return self.registry.get_sample_value("tollhouse_shed_total", {"why": why}) or 0.0


@pytest.mark.parametrize(
    ("waited", "granted", "answer"),
    [
        pytest.param(0.0, "1S", b"allow", id="a call that has not waited"),
        pytest.param(0.49, "1S", b"allow", id="just under half of its time"),
        pytest.param(0.51, "1S", b"shed", id="more than half of its time"),
        pytest.param(0.011, "20m", b"shed", id="half of a short time"),
        pytest.param(5.0, "1S", b"shed", id="longer than anybody listens"),
        pytest.param(-3.0, "1S", b"allow", id="a wall clock that was set back"),
    ],
)
async def test_call_is_shed_once_half_of_its_time_is_gone(waited: float, granted: str, answer: bytes):
    rig = Rig()

    assert await rig.call(waited=waited, granted=granted) == (b"0", answer)
    assert rig.worked_on == (answer == b"allow")
    assert rig.shed("time") == (answer == b"shed")


async def test_call_beyond_the_room_is_shed_and_the_next_one_served_once_there_is_room():
    rig = Rig(LoadBounds(max_in_flight=3))
    rig.blocked = asyncio.Event()
    waiting = [asyncio.create_task(rig.call()) for _ in range(3)]
    async with asyncio.timeout(10):
        await rig.filled.wait()

    assert await rig.call() == (b"0", b"shed")
    assert rig.shed("room") == 1

    rig.blocked.set()
    assert await asyncio.gather(*waiting) == [(b"0", b"allow")] * 3
    assert rig.load.in_flight == 0
    assert await rig.call() == (b"0", b"allow")


async def test_method_without_an_answer_for_it_is_never_shed():
    rig = Rig(LoadBounds(max_in_flight=0))

    assert await rig.call(path="/s/Health", waited=0.9) == (b"0", b"allow")
    assert rig.shed("room") == 0


async def test_answer_that_comes_too_late_is_no_answer():
    rig = Rig()
    rig.takes_seconds = 0.7

    assert await rig.call(waited=0.2) == (b"0", b"allow")
    assert await rig.call(waited=0.4) == (b"4", b"")


def test_rest_alone_counts_against_the_longest_rest_of_the_same_peer():
    rig = Rig()

    assert rig.load.shed_by_rest(PATH, None, "a") is None
    assert rig.load.shed_by_rest(PATH, 1.0, "a") is None
    assert rig.load.shed_by_rest(PATH, 0.51, "a") is None
    assert rig.load.shed_by_rest(PATH, 0.49, "a") == b"shed"
    assert rig.load.shed_by_rest(PATH, 0.02, "b") is None
    assert rig.load.shed_by_rest(PATH, 0.009, "b") == b"shed"


def test_health_check_that_grants_much_sheds_no_call():
    rig = Rig()

    assert rig.load.shed_by_rest("/s/Health", 30.0, "a") is None
    assert rig.load.shed_by_rest(PATH, 1.0, "a") is None


def test_patient_caller_of_a_unix_socket_is_forgotten():
    rig = Rig()

    assert rig.load.shed_by_rest(PATH, 30.0, "unix:") is None
    assert rig.load.shed_by_rest(PATH, 1.0, "unix:") == b"shed"
    rig.clock.advance(10.0)
    assert rig.load.shed_by_rest(PATH, 1.0, "unix:") is None
    assert rig.load.shed_by_rest(PATH, 0.49, "unix:") == b"shed"


def test_what_is_remembered_of_peers_is_bounded():
    rig = Rig()
    for number in range(5000):
        assert rig.load.shed_by_rest(PATH, 1.0, f"peer {number}") is None

    assert len(rig.load._granted) <= 1024


async def test_call_is_shed_while_calls_take_longer_than_it_has_left():
    rig = Rig()
    rig.takes_seconds = 0.45
    for _ in range(60):
        assert await rig.call() == (b"0", b"allow")

    assert await rig.call(waited=0.3) == (b"0", b"shed")
    assert await rig.call(waited=0.1) == (b"0", b"allow"), "it has not waited, whatever others wait for"

    rig.clock.advance(0.3)  # nothing was learnt meanwhile, so a call finds out how it is now
    rig.takes_seconds = 0.0
    assert await rig.call(waited=0.3) == (b"0", b"allow")


def test_flood_is_told_in_few_log_lines(caplog: pytest.LogCaptureFixture):
    rig = Rig()
    with caplog.at_level(logging.WARNING, "chassis.overload"):
        for _ in range(500):
            rig.load.shed(PATH, 0.1, 1.0)
        rig.clock.advance(11)
        rig.load.shed(PATH, 0.1, 1.0)

    lines = [record.getMessage() for record in caplog.records]
    assert ["without a decision, 1 since" in lines[0], "without a decision, 500 since" in lines[1]] == [True, True]
    assert len(lines) == 2
