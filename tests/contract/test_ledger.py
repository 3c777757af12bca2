"""What every ledger promises: one suite, every ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from helpers.ledgers import LEDGERS, LedgerUnderTest, opened_ledger
from ratelimit.ledger import MAX_COUNT, CounterFault, Entry, Hold, Identity, Kind, Outcome, Posting, Settled, Status

HOUR = 3600
DAY = 86_400


@pytest.fixture(params=LEDGERS)
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[LedgerUnderTest]:
    async with opened_ledger(request.param) as opened:
        yield opened


def window(key: str, limit: int, cost: int = 1, **flags: bool) -> Entry:
    return Entry(key, limit, cost, DAY, **flags)


def held(key: str, limit: int, cost: int) -> Entry:
    return window(key, limit, cost, is_once=True, is_held=True)


def payment(decision: str, *entries: Entry, identity: Identity | None = None) -> Posting:
    return Posting(entries, hold=Hold(f"hold:{decision}", decision, "m 100", DAY, identity))


def sliding(limit: int, cost: int = 1) -> Entry:
    """Sixty buckets of a minute: an hour."""
    return Entry("slide", limit, cost, 2 * HOUR, Kind.SLIDING, step=60_000, buckets=60)


def rate(burst: int, cost: int = 1) -> Entry:
    """Ten a second."""
    return Entry("rate", burst, cost, HOUR, Kind.RATE, step=100_000)


def distinct(member: str, limit: int) -> Entry:
    return Entry("cards", limit, 1, HOUR, Kind.DISTINCT, step=60_000, member=member)


def lease(member: str, limit: int) -> Entry:
    return Entry("in_flight", limit, 1, HOUR, Kind.LEASE, step=30_000, member=member)


async def used(ledger: LedgerUnderTest, entry: Entry) -> int:
    return (await ledger.post(Posting([entry._replace(cost=0)]))).readings[0].used


async def test_one_entry_over_its_limit_writes_nothing_at_all(ledger):
    first = await ledger.post(Posting([window("a", 1), sliding(5), rate(3), distinct("x", 2), lease("d", 2)]))
    assert (first.status, [reading.used for reading in first.readings]) == (Status.CHARGED, [1, 1, 1, 1, 1])
    entries = [window("a", 1), sliding(5), rate(3), distinct("y", 2), lease("e", 2)]
    refused = await ledger.post(Posting(entries))
    assert refused.status is Status.OVER
    assert [reading.is_over for reading in refused.readings] == [True, False, False, False, False]
    assert [await used(ledger, entry) for entry in entries] == [1, 1, 1, 1, 1]


async def test_shadow_entry_over_its_limit_neither_refuses_nor_counts(ledger):
    result = await ledger.post(Posting([window("a", 9), window("s", 3, 4, is_shadow=True)]))
    assert (result.status, [tuple(reading) for reading in result.readings]) == (
        Status.CHARGED,
        [(1, False), (0, True)],
    )


async def test_exact_up_to_the_largest_number(ledger):
    await ledger.post(Posting([window("a", MAX_COUNT, MAX_COUNT - 1)]))
    assert (await ledger.post(Posting([window("a", MAX_COUNT, 2)]))).status is Status.OVER
    assert (await ledger.post(Posting([window("a", MAX_COUNT, 1)]))).readings[0].used == MAX_COUNT


async def test_sliding_never_lets_more_than_its_limit_into_any_span(ledger):
    ledger.advance(59)
    assert (await ledger.post(Posting([sliding(10, 10)]))).status is Status.CHARGED
    refused = await ledger.post(Posting([sliding(10)]))
    assert refused.status is Status.OVER
    ledger.advance(HOUR)  # the whole first bucket still counts: its end might lie within the span
    assert (await ledger.post(Posting([sliding(10)]))).status is Status.OVER
    ledger.advance(refused.waits_ms[0] / 1000 - HOUR)
    assert (await ledger.post(Posting([sliding(10)]))).status is Status.CHARGED


async def test_sliding_gives_way_one_bucket_after_its_span_at_the_latest(ledger):
    await ledger.post(Posting([sliding(10, 10)]))
    ledger.advance(HOUR + 60)
    assert (await ledger.post(Posting([sliding(10, 10)]))).status is Status.CHARGED


async def test_rate_takes_a_burst_and_then_one_an_emission(ledger):
    assert (await ledger.post(Posting([rate(3, 3)]))).status is Status.CHARGED
    refused = await ledger.post(Posting([rate(3)]))
    assert (refused.status, refused.waits_ms) == (Status.OVER, (100,))
    ledger.advance(0.1)
    assert (await ledger.post(Posting([rate(3)]))).status is Status.CHARGED
    assert (await ledger.post(Posting([rate(3)]))).status is Status.OVER


async def test_distinct_counts_each_member_once(ledger):
    for member in ("x", "y", "x"):
        assert (await ledger.post(Posting([distinct(member, 2)]))).status is Status.CHARGED
    refused = await ledger.post(Posting([distinct("z", 2)]))
    assert (refused.status, refused.readings[0].used) == (Status.OVER, 2)
    ledger.advance(60)
    assert (await ledger.post(Posting([distinct("z", 2)]))).readings[0].used == 1


async def test_lease_ends_with_its_payment_or_by_itself(ledger):
    first = payment("d1", lease("d1", 1))
    await ledger.post(first)
    assert (await ledger.post(payment("d2", lease("d2", 1)))).status is Status.OVER
    await ledger.settle(first, Outcome.SPENT)
    assert (await ledger.post(payment("d3", lease("d3", 1)))).status is Status.CHARGED
    ledger.advance(30)
    assert (await ledger.post(payment("d4", lease("d4", 1)))).status is Status.CHARGED


async def test_lease_of_a_payment_in_doubt_runs_on(ledger):
    first = payment("d1", lease("d1", 1))
    await ledger.post(first)
    await ledger.settle(first, Outcome.IN_DOUBT)
    assert (await ledger.post(payment("d2", lease("d2", 1)))).status is Status.OVER


async def test_windows_of_another_time_are_refused_with_the_store_s_time(ledger):
    start = int(ledger.now * 1000)
    assert (await ledger.post(Posting([window("a", 9)], start, start + 1))).status is Status.CHARGED
    for bounds in ((start + 1, start + 2), (start - 2, start)):
        stale = await ledger.post(Posting([window("a", 9)], *bounds))
        assert (stale.status, stale.now_ms) == (Status.STALE, start)
    assert await used(ledger, window("a", 9)) == 1


async def test_released_payment_is_given_back_once(ledger):
    other, released = payment("d1", held("a", 100, 30)), payment("d2", held("a", 100, 60))
    await ledger.post(other)
    await ledger.post(released)
    assert [await ledger.settle(released, Outcome.RELEASED) for _ in range(3)] == [
        Settled.DONE,
        Settled.UNKNOWN,
        Settled.UNKNOWN,
    ]
    assert await used(ledger, held("a", 100, 0)._replace(is_held=False, is_once=False)) == 30


@pytest.mark.parametrize("outcome", [Outcome.SPENT, Outcome.IN_DOUBT])
async def test_payment_taken_or_in_doubt_stays_whatever_comes_later(ledger, outcome):
    posting = payment("d1", held("a", 100, 60))
    await ledger.post(posting)
    assert await ledger.settle(posting, outcome) is Settled.DONE
    assert await ledger.settle(posting, Outcome.RELEASED) is Settled.UNKNOWN
    assert await used(ledger, window("a", 100)) == 60


async def test_outcome_about_another_payment_settles_nothing(ledger):
    posting = payment("d1", held("a", 100, 60))
    await ledger.post(posting)
    assert await ledger.settle(posting, Outcome.RELEASED, about="m 99") is Settled.OTHERWISE
    assert await ledger.settle(payment("d9", held("a", 100, 60)), Outcome.RELEASED) is Settled.UNKNOWN
    assert await used(ledger, window("a", 100)) == 60


async def test_release_lands_in_the_bucket_that_was_charged(ledger):
    entry = sliding(100, 40)._replace(is_once=True, is_held=True)
    posting = payment("d1", entry)
    await ledger.post(posting)
    ledger.advance(120)
    await ledger.post(Posting([sliding(100, 5)]))
    await ledger.settle(posting, Outcome.RELEASED)
    assert await used(ledger, sliding(100)) == 5


async def test_repeat_of_a_payment_counts_towards_rates_alone(ledger):
    identity = Identity("id", "digest", DAY)
    for decision, status in (("d1", Status.CHARGED), ("d2", Status.REPEATED), ("d3", Status.REPEATED)):
        result = await ledger.post(payment(decision, held("a", 60, 60), rate(3), identity=identity))
        assert result.status is status
    refused = await ledger.post(payment("d4", held("a", 60, 60), rate(3), identity=identity))
    assert (refused.status, [reading.is_over for reading in refused.readings]) == (Status.OVER, [False, True])
    assert await used(ledger, window("a", 60)) == 60


async def test_same_key_with_another_body_is_refused(ledger):
    await ledger.post(payment("d1", held("a", 60, 10), identity=Identity("id", "digest", DAY)))
    other = await ledger.post(payment("d2", held("a", 60, 10), identity=Identity("id", "another", DAY)))
    assert other.status is Status.MISMATCH
    assert await used(ledger, window("a", 60)) == 10


async def test_released_payment_is_charged_again_when_repeated(ledger):
    identity = Identity("id", "digest", DAY)
    first = payment("d1", held("a", 60, 60), identity=identity)
    await ledger.post(first)
    await ledger.settle(first, Outcome.RELEASED)
    assert (await ledger.post(payment("d2", held("a", 60, 60), identity=identity))).status is Status.CHARGED
    assert await used(ledger, window("a", 60)) == 60


async def test_payment_is_not_given_back_while_a_repeat_may_have_been_taken(ledger):
    identity = Identity("id", "digest", DAY)
    first, repeat = (payment(decision, held("a", 60, 60), identity=identity) for decision in ("d1", "d2"))
    await ledger.post(first)
    await ledger.post(repeat)
    assert await ledger.settle(first, Outcome.RELEASED) is Settled.WAITS
    assert await used(ledger, window("a", 60)) == 60
    assert await ledger.settle(repeat, Outcome.RELEASED) is Settled.DONE
    assert await used(ledger, window("a", 60)) == 0


async def test_repeat_that_was_taken_keeps_the_payment_of_a_released_first(ledger):
    identity = Identity("id", "digest", DAY)
    first, repeat = (payment(decision, held("a", 60, 60), identity=identity) for decision in ("d1", "d2"))
    await ledger.post(first)
    await ledger.post(repeat)
    await ledger.settle(repeat, Outcome.SPENT)
    assert await ledger.settle(first, Outcome.RELEASED) is Settled.UNKNOWN
    assert await used(ledger, window("a", 60)) == 60


async def test_decision_is_posted_once(ledger):
    await ledger.post(payment("d1", held("a", 60, 10)))
    with pytest.raises(CounterFault):
        await ledger.post(payment("d1", held("a", 60, 10)))


async def test_postings_of_one_moment_are_judged_in_order(ledger):
    postings = [payment(f"d{i}", held("a", 5, 1), lease(f"d{i}", 3)) for i in range(6)]
    results = await asyncio.gather(*map(ledger.post, postings))
    assert [result.status for result in results] == [Status.CHARGED] * 3 + [Status.OVER] * 3


@pytest.mark.parametrize(
    "posting",
    [
        Posting([]),
        Posting([window("a", 1), window("a", 1)]),
        Posting([window("a", -1)]),
        Posting([window("a", MAX_COUNT + 1)]),
        Posting([window("a", 1, 2.0)]),  # type: ignore[arg-type]
        Posting([window("", 1)]),
        Posting([window("a\udc80", 1)]),
        Posting([held("a", 1, 1)]),
        Posting([Entry("a", 1, 1, 60, Kind.RATE, step=0)]),
        Posting([Entry("a", 1, 1, 60, Kind.SLIDING, step=1, buckets=0)]),
        Posting([Entry("a", 1, 1, 60, Kind.LEASE, step=1, member="")]),
        Posting([window("a", 1)], 5, 4),
    ],
)
async def test_what_cannot_be_counted_exactly_is_refused_unsent(ledger, posting):
    with pytest.raises(CounterFault):
        await ledger.post(posting)
