"""What every counter store promises: one suite, every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chassis.store_link import StoreUnavailable
from helpers.counter_stores import STORES, StoreUnderTest, counter_store
from helpers.ledgers import charged, refused_with
from ratelimit.ledger import MAX_COUNT, CounterFault, Entry, Posting, Reading, Status


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StoreUnderTest]:
    async with counter_store(request.param) as opened:
        yield opened


async def test_hit_within_its_limits_is_charged_everywhere(store):
    assert await store.hit(Entry("a", 10, 3, 60), Entry("b", 100, 40, 60)) == charged(
        (Reading(3, False), Reading(40, False))
    )
    assert await store.hit(Entry("a", 10, 7, 60)) == charged((Reading(10, False),))


async def test_one_charge_over_its_limit_writes_nothing_at_all(store):
    await store.hit(Entry("a", 10, 10, 60))
    refused = await store.hit(Entry("b", 10, 1, 60), Entry("a", 10, 1, 60), Entry("c", 10, 1, 60))
    assert refused == refused_with((Reading(0, False), Reading(10, True), Reading(0, False)))
    assert [await store.used(key) for key in "abc"] == [10, 0, 0]


async def test_shadow_charge_over_its_limit_neither_refuses_nor_counts(store):
    result = await store.hit(Entry("a", 10, 4, 60), Entry("s", 3, 4, 60, is_shadow=True))
    assert result == charged((Reading(4, False), Reading(0, True)))
    assert await store.used("s") == 0


async def test_shadow_charge_within_its_limit_counts(store):
    result = await store.hit(Entry("a", 10, 4, 60), Entry("s", 4, 4, 60, is_shadow=True))
    assert result == charged((Reading(4, False), Reading(4, False)))
    assert await store.used("s") == 4


async def test_refused_hit_leaves_its_shadow_charges_alone(store):
    refused = await store.hit(Entry("s", 9, 4, 60, is_shadow=True), Entry("a", 1, 2, 60))
    assert refused == refused_with((Reading(0, False), Reading(0, True)))
    assert await store.used("s") == 0


async def test_cost_nothing_looks_and_leaves_nothing(store):
    assert await store.hit(Entry("a", 0, 0, 60)) == charged((Reading(0, False),))
    await store.hit(Entry("a", 5, 5, 60))
    assert await store.hit(Entry("a", 5, 0, 60)) == charged((Reading(5, False),))
    assert await store.hit(Entry("a", 4, 0, 60)) == refused_with((Reading(5, True),))


async def test_limit_zero_lets_nothing_through(store):
    assert await store.hit(Entry("a", 0, 1, 60)) == refused_with((Reading(0, True),))


async def test_largest_amounts_are_counted_exactly(store):
    assert await store.hit(Entry("a", MAX_COUNT, MAX_COUNT - 1, 60)) == charged((Reading(2**53 - 2, False),))
    assert await store.hit(Entry("a", MAX_COUNT, 2, 60)) == refused_with((Reading(2**53 - 2, True),))
    assert await store.hit(Entry("a", MAX_COUNT, 1, 60)) == charged((Reading(2**53 - 1, False),))
    assert await store.hit(Entry("a", MAX_COUNT, MAX_COUNT, 60)) == refused_with((Reading(2**53 - 1, True),))


@pytest.mark.parametrize(
    "charges",
    [
        pytest.param([Entry("a", 2**53, 1, 60)], id="limit above 2^53-1"),
        pytest.param([Entry("a", 9, 2**53, 60)], id="cost above 2^53-1"),
        pytest.param([Entry("a", 9, -1, 60)], id="negative cost"),
        pytest.param([Entry("a", -1, 0, 60)], id="negative limit"),
        pytest.param([Entry("a", 9, True, 60)], id="cost that is no number"),
        pytest.param([Entry("a", 9, 1.0, 60)], id="cost that is a float"),  # type: ignore[arg-type]
        pytest.param([Entry("a", 9, 1, 0)], id="no time to live"),
        pytest.param([Entry("a", 9, 1, 10**12)], id="absurd time to live"),
        pytest.param([Entry("", 9, 1, 60)], id="empty key"),
        pytest.param([Entry("k" * 1025, 9, 1, 60)], id="long key"),
        pytest.param([Entry("\N{SNOWMAN}" * 400, 9, 1, 60)], id="key that is long in bytes"),
        pytest.param([Entry("\ud800", 9, 1, 60)], id="key that is no text"),
        pytest.param([Entry("a", 9, 5, 60), Entry("a", 9, 5, 60)], id="one counter twice"),
        pytest.param([], id="no charge"),
        pytest.param([Entry(f"k{number}", 9, 1, 60) for number in range(65)], id="too many charges"),
    ],
)
async def test_hit_that_cannot_be_counted_fails_alone(store, charges):
    waiting = asyncio.gather(store.hit(Entry("b", 9, 1, 60)), store.hit(*charges), return_exceptions=True)
    counted, failed = await waiting
    assert counted == charged((Reading(1, False),))
    assert isinstance(failed, CounterFault)
    assert await store.used("a") == 0


async def test_hits_of_one_tick_see_those_before_them(store):
    results = await asyncio.gather(*(store.hit(Entry("a", 5, 2, 60)) for _ in range(4)))
    assert [(result.status is Status.CHARGED, result.readings[0].used) for result in results] == [
        (True, 2),
        (True, 4),
        (False, 4),
        (False, 4),
    ]


async def test_refused_hit_leaves_room_for_a_smaller_one_after_it(store):
    results = await asyncio.gather(*(store.hit(Entry("a", 5, cost, 60)) for cost in (4, 2, 1)))
    assert [result.status is Status.CHARGED for result in results] == [True, False, True]


async def test_more_hits_than_one_call_holds_are_all_counted(store):
    results = await asyncio.gather(*(store.hit(Entry("a", 1000, 1, 60)) for _ in range(300)))
    assert [result.readings[0].used for result in results] == list(range(1, 301))


async def test_counter_is_forgotten_after_its_time(store):
    await store.hit(Entry("a", 5, 5, 60), Entry("b", 5, 5, 120))
    await store.advance(61)
    assert [await store.used(key) for key in "ab"] == [0, 5]
    assert (await store.hit(Entry("a", 5, 5, 60))).status is Status.CHARGED


async def test_charge_starts_the_time_of_its_counter_anew(store):
    await store.hit(Entry("a", 5, 1, 60))
    await store.advance(40)
    await store.hit(Entry("a", 5, 1, 60))
    await store.advance(40)
    assert await store.used("a") == 2
    await store.advance(21)
    assert await store.used("a") == 0


async def test_refused_hit_does_not_keep_a_counter_alive(store):
    await store.hit(Entry("a", 5, 5, 60))
    await store.advance(40)
    await store.hit(Entry("a", 5, 5, 60))
    await store.advance(21)
    assert await store.used("a") == 0


@pytest.mark.parametrize("key", ["with space", "zero\0byte", "line\r\nbreak", "{tag}:ü", "k" * 1024])
async def test_key_of_any_text_names_a_counter_of_its_own(store, key):
    await store.hit(Entry(key, 5, 2, 60))
    assert await store.used(key) == 2
    assert await store.used(key[:-1] or "x") == 0


async def test_hit_whose_deadline_has_passed_is_not_counted(store):
    with pytest.raises(StoreUnavailable, match="the deadline passed"):
        await store.counters.post(Posting([Entry("a", 5, 1, 60)]), store.monotonic())
    assert await store.used("a") == 0


async def test_available_once_started(store):
    assert store.counters.is_available
