"""What every store of descriptor counters promises: one suite, every store, and the model by random requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from chassis.clock import SystemClock
from helpers.clock import FakeClock
from helpers.tally_stores import TALLY_STORES, TallyUnderTest, hit, tally_store
from ratelimit.descriptors.memory_tally import MemoryTally
from ratelimit.descriptors.tally import Count, Law, Role, WindowPassed
from ratelimit.ledger import MAX_COUNT, CounterFault


@pytest.fixture(params=TALLY_STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[TallyUnderTest]:
    async with tally_store(request.param) as opened:
        yield opened


async def test_hits_that_fit_are_all_added(store):
    assert await store.tally(hit("a", 10, 3), hit("b", 5, 5)) == (Count(0, 3, False), Count(0, 5, False))
    assert await store.counts() == {"a": 3, "b": 5}


async def test_one_hard_hit_that_does_not_fit_leaves_everything_unwritten(store):
    await store.tally(hit("a", 1))
    assert await store.tally(hit("b", 9), hit("a", 1), hit("q", 9, 1, Role.QUOTA)) == (
        Count(0, 0, False),
        Count(1, 1, True),
        Count(0, 0, False),
    )
    assert await store.counts() == {"a": 1}


async def test_shadow_hit_that_does_not_fit_neither_refuses_nor_counts(store):
    assert await store.tally(hit("a", 9), hit("s", 1, 2, Role.SHADOW)) == (Count(0, 1, False), Count(0, 0, True))


async def test_quota_hit_is_counted_although_it_does_not_fit(store):
    assert await store.tally(hit("q", 3, 8, Role.QUOTA), hit("p", 9, 8, Role.QUOTA), hit("h", 9)) == (
        Count(0, 8, True),
        Count(0, 8, False),
        Count(0, 1, False),
    )


async def test_all_quotas_over_refuse_and_hard_hits_stay_free(store):
    assert await store.tally(hit("h", 9), hit("q", 3, 8, Role.QUOTA)) == (Count(0, 0, False), Count(0, 8, True))
    assert await store.counts() == {"q": 8}


async def test_the_same_counter_twice_is_judged_by_the_sum(store):
    assert await store.tally(hit("a", 1), hit("a", 1)) == (Count(0, 0, False), Count(0, 0, True))
    assert await store.tally(hit("a", 2), hit("a", 2)) == (Count(0, 1, False), Count(1, 2, False))


async def test_look_writes_nothing_and_is_over_when_nothing_is_left(store):
    assert await store.tally(hit("a", 1, 0)) == (Count(0, 0, False),)
    assert await store.counts() == {}
    await store.tally(hit("a", 1))
    assert await store.tally(hit("a", 1, 0)) == (Count(1, 1, True),)
    assert await store.tally(hit("a", 1, 0), law=Law.EACH) == (Count(1, 1, False),)


async def test_giving_back_always_fits_and_stops_at_nothing(store):
    await store.tally(hit("a", 5, 5))
    assert await store.tally(hit("a", 0, 2, back=True)) == (Count(5, 3, False),)
    assert await store.tally(hit("a", 0, 9, back=True)) == (Count(3, 0, False),)


async def test_each_is_added_whether_it_fits_or_not(store):
    assert await store.tally(hit("a", 2, 5), hit("b", 9), law=Law.EACH) == (Count(0, 5, True), Count(0, 1, False))
    assert await store.tally(hit("a", 9), law=Law.EACH) == (Count(5, 6, False),)


async def test_each_over_adds_those_that_are_over_alone(store):
    assert await store.tally(hit("a", 2, 5), hit("b", 9), law=Law.EACH_OVER) == (Count(0, 5, True), Count(0, 0, False))
    assert await store.tally(hit("b", 9), law=Law.EACH_OVER) == (Count(0, 1, False),)


async def test_counter_stays_at_the_largest_number_it_can_hold(store):
    await store.tally(hit("a", 1, MAX_COUNT), law=Law.EACH)
    assert await store.tally(hit("a", 1, MAX_COUNT), law=Law.EACH) == (Count(MAX_COUNT, MAX_COUNT, True),)
    assert await store.tally(hit("a", 1, MAX_COUNT), law=Law.ALL_OR_NONE) == (Count(MAX_COUNT, MAX_COUNT, True),)


@pytest.mark.parametrize(
    "bad", [hit("a", 1, MAX_COUNT + 1), hit("a", 1, -1), hit("", 1), hit("x" * 1025, 1), hit("a", 1, life=0)]
)
async def test_what_cannot_be_counted_exactly_is_a_fault_and_writes_nothing(store, bad):
    with pytest.raises(CounterFault):
        await store.tally(hit("b", 9), bad)
    assert await store.counts() == {}


async def test_counters_are_forgotten_when_their_life_has_passed(store):
    await store.tally(hit("a", 9, life=60))
    await store.advance(59.0)
    assert await store.counts() == {"a": 1}
    await store.advance(1.5)
    assert await store.tally(hit("a", 9)) == (Count(0, 1, False),)


async def test_requests_at_once_never_let_more_through_than_the_limit(store):
    outcomes = await asyncio.gather(*(store.tally(hit("a", 100)) for _ in range(400)))
    assert sum(not counts[0].is_over for counts in outcomes) == 100
    assert await store.counts() == {"a": 100}


async def test_every_store_agrees_with_the_one_in_memory(store):
    draw = random.Random(7)  # noqa: S311 - no secret
    model = MemoryTally(FakeClock())
    for _ in range(150):
        law = draw.choice(list(Law))
        hits = [
            hit(
                draw.choice("abcd"),
                draw.randrange(12),
                draw.randrange(6),
                draw.choice(list(Role)),
                back=draw.random() < 0.2,
            )
            for _ in range(draw.randrange(1, 5))
        ]
        assert await store.tally(*hits, law=law) == await model.tally(hits, law, 2000.0)
    shown = {key: count for key, count in (await store.counts()).items() if count}
    assert shown == {key: count for key, count in model.counts().items() if count}


async def test_window_that_is_not_the_stores_counts_nothing(served):
    now_ms = int(SystemClock().wall() * 1000)
    for window in ((now_ms - 9000, now_ms - 5000), (now_ms + 60_000, now_ms + 90_000)):
        passed = [hit("a", 9)._replace(window=window), hit("b", 9)]
        with pytest.raises(WindowPassed) as caught:
            await served.tally(*passed)
        assert abs(caught.value.now_ms - now_ms) < 5000
    assert await served.counts() == {}
    inside = hit("a", 9)._replace(window=(now_ms - 60_000, now_ms + 60_000))
    assert await served.tally(inside, hit("b", 9)) == (Count(0, 1, False), Count(0, 1, False))


async def test_passed_window_of_one_request_spoils_no_other(served):
    now_ms = int(SystemClock().wall() * 1000)
    passed = hit("a", 9)._replace(window=(now_ms - 9000, now_ms - 5000))
    found = await asyncio.gather(
        *(served.tally(passed if number % 2 else hit("b", 99)) for number in range(20)), return_exceptions=True
    )
    assert [isinstance(each, WindowPassed) for each in found] == [number % 2 == 1 for number in range(20)]
    assert await served.counts() == {"b": 10}


@pytest.fixture(params=[kind for kind in TALLY_STORES if kind != "memory"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[TallyUnderTest]:
    async with tally_store(request.param) as opened:
        yield opened
