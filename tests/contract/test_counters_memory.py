"""What only the memory store does: bounded, and never forgetting to make room."""

from __future__ import annotations

import pytest

from chassis.store_link import StoreUnavailable
from helpers.clock import FakeClock
from ratelimit.ledger import Entry, Posting, Status
from ratelimit.memory_ledger import MemoryLedger


async def test_full_store_refuses_new_counters_and_keeps_the_live_ones():
    clock = FakeClock()
    counters = MemoryLedger(clock, max_keys=2)
    deadline = clock.monotonic() + 1000
    await counters.post(Posting([Entry("a", 5, 1, 60), Entry("b", 5, 1, 120)]), deadline)
    with pytest.raises(StoreUnavailable, match="full"):
        await counters.post(Posting([Entry("a", 5, 1, 60), Entry("c", 5, 1, 60)]), deadline)
    assert (await counters.post(Posting([Entry("a", 5, 1, 60)]), deadline)).readings[0].used == 2
    clock.advance(61)
    assert (await counters.post(Posting([Entry("c", 5, 1, 60)]), deadline)).status is Status.CHARGED


async def test_refused_and_looking_hits_take_no_room():
    clock = FakeClock()
    counters = MemoryLedger(clock, max_keys=1)
    deadline = clock.monotonic() + 1000
    await counters.post(Posting([Entry("a", 5, 1, 60)]), deadline)
    assert (await counters.post(Posting([Entry("b", 5, 9, 60)]), deadline)).status is Status.OVER
    assert (await counters.post(Posting([Entry("b", 5, 0, 60)]), deadline)).status is Status.CHARGED


async def test_counters_charged_again_and_again_take_constant_room():
    clock = FakeClock()
    counters = MemoryLedger(clock, max_keys=10)
    for number in range(500):
        await counters.post(Posting([Entry(f"k{number}", 5, 1, 5), Entry("hot", 10**6, 1, 60)]), clock.monotonic() + 1)
        clock.advance(1)
    assert len(counters._counters) <= 7
    assert len(counters._ends) == len(counters._counters)
    assert (await counters.post(Posting([Entry("hot", 10**6, 0, 60)]), clock.monotonic() + 1)).readings[0].used == 500
