"""One timer for many callers: each is given up at its own time, and never before."""

from __future__ import annotations

import asyncio
from typing import Any

from chassis.clock import SystemClock
from chassis.deadlines import Deadlines

CLOCK = SystemClock()


def give_up(future: asyncio.Future[Any]) -> None:
    future.set_result(CLOCK.monotonic())


async def test_each_is_given_up_at_its_own_time_whatever_the_order_of_arrival():
    deadlines = Deadlines(CLOCK, give_up)
    loop = asyncio.get_running_loop()
    now = CLOCK.monotonic()
    asked = [now + seconds for seconds in (0.05, 0.01, 0.03, 0.01)]
    futures = [loop.create_future() for _ in asked]
    for future, deadline in zip(futures, asked, strict=True):
        deadlines.watch(future, deadline, now)
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*futures)
    assert all(end >= deadline for end, deadline in zip(ended, asked, strict=True))
    assert sorted(ended) == [ended[1], ended[3], ended[2], ended[0]]


async def test_answered_ones_are_left_alone_and_forgotten():
    deadlines = Deadlines(CLOCK, give_up)
    loop = asyncio.get_running_loop()
    now = CLOCK.monotonic()
    for _ in range(1000):
        answered = loop.create_future()
        deadlines.watch(answered, now + 60, now)
        answered.set_result("answer")
    assert len(deadlines._heap) == 1
    last = loop.create_future()
    deadlines.watch(last, now, now)
    async with asyncio.timeout(10):
        assert await last >= now
    assert answered.result() == "answer"
    deadlines.stop()


async def test_after_stop_nobody_is_given_up():
    deadlines = Deadlines(CLOCK, give_up)
    future = asyncio.get_running_loop().create_future()
    now = CLOCK.monotonic()
    deadlines.watch(future, now, now)
    deadlines.stop()
    await asyncio.sleep(0)
    assert not future.done()
    future.cancel()
