"""Sliding sums beside an exact model: never above the limit in any span, refused at most one bucket too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from helpers.clock import FakeClock
from ratelimit.ledger import Entry, Kind, Posting, Status
from ratelimit.memory_ledger import MemoryLedger

LIMIT = 100
arrivals = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 60)), min_size=1, max_size=60)


@given(arrivals, st.integers(1, 12), st.integers(100, 5000), st.integers(0, 10**6))
async def test_no_span_holds_more_than_the_limit_and_nothing_waits_longer_than_a_bucket(times, buckets, step, start):
    clock = FakeClock(1_700_000_000 + start / 1000)
    ledger = MemoryLedger(clock)
    span = buckets * step
    taken: list[tuple[int, int]] = []
    for pause_ms, cost in times:
        clock.now = round(clock.now + pause_ms / 1000, 3)
        now = int(clock.now * 1000)
        entry = Entry("a", LIMIT, cost, 86_400, Kind.SLIDING, step=step, buckets=buckets)
        result = await ledger.post(Posting([entry]), clock.monotonic() + 1)
        exact = sum(each for at, each in taken if at > now - span)
        with_one_bucket = sum(each for at, each in taken if at > now - span - step)
        if result.status is Status.CHARGED:
            assert exact + cost <= LIMIT
            taken.append((now, cost))
        else:
            assert with_one_bucket + cost > LIMIT
