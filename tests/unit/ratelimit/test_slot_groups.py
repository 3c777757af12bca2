"""Postings over several slots: charged part by part, undone where one refuses, settled with the payment."""

from __future__ import annotations

from itertools import count

import pytest

from chassis.store_link import StoreUnavailable, Unavailability
from helpers.clock import FakeClock
from ratelimit.ledger import (
    CounterFault,
    Entry,
    Hold,
    Identity,
    Kind,
    Outcome,
    Posting,
    PostResult,
    Reading,
    Settled,
    Settlement,
    Status,
)
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.slot_groups import SlotGroups, is_spread, others_of, split, tag_of

NOW = 1_700_000_000.0
DAY = 86_400


class Counting:
    """Ids that a test can name."""

    def __init__(self) -> None:
        self.numbers = count()

    def decision_id(self) -> str:
        return f"part{next(self.numbers)}"


class Slots:
    """A memory ledger that refuses what no cluster could do: one posting over two hash tags."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.ledger = MemoryLedger(self.clock)
        self.fails_at = ""
        self.groups = SlotGroups(self.post_one, self.settle_one, Counting())
        self.notes: dict[str, list[str]] = {}

    async def post_one(self, posting: Posting, deadline: float) -> PostResult:
        names = [entry.key for entry in posting.entries] + ([posting.hold.key] if posting.hold else [])
        (tag,) = {tag_of(name) for name in names}
        if tag == self.fails_at:
            raise StoreUnavailable(Unavailability.DEADLINE)
        for entry in posting.entries:
            if entry.key.endswith(":others") and posting.hold is not None:
                self.notes[posting.hold.key] = [entry.member]
        return await self.ledger.post(posting, deadline)

    async def settle_one(self, settlement: Settlement, deadline: float) -> Settled:
        return await self.ledger.settle(settlement, deadline)

    async def post(self, *entries: Entry, hold: Hold | None = None) -> PostResult:
        return await self.groups.post(Posting(entries, hold=hold), self.clock.monotonic() + 9)

    async def used(self, key: str, **kind: object) -> int:
        look = Posting([Entry(key, 2**53 - 1, 0, DAY, **kind)])  # type: ignore[arg-type]
        return (await self.ledger.post(look, self.clock.monotonic() + 9)).readings[0].used


def window(tag: str, cost: int, limit: int = 10, **more: object) -> Entry:
    return Entry(f"t:{{{tag}}}:day", limit, cost, DAY, **more)  # type: ignore[arg-type]


def held(tag: str, cost: int, limit: int = 10) -> Entry:
    return window(tag, cost, limit, is_once=True, is_held=True)


def hold(decision: str = "d1", identity: Identity | None = None) -> Hold:
    return Hold(f"t:{{m}}:hold:{decision}", decision, "m 5", DAY, identity)


def test_hash_tags_are_those_of_the_cluster_specification():
    assert [tag_of(key) for key in ("a{b}c", "{}x", "x", "a{{b}}", "a{b")] == ["b", "{}x", "x", "{b", "a{b"]


def test_what_lies_under_one_tag_is_not_spread():
    assert not is_spread(Posting([window("m", 1), Entry("t:{m}:week", 9, 1, DAY)], hold=hold()))
    assert is_spread(Posting([window("m", 1), window("=p", 1)]))
    assert is_spread(Posting([window("=p", 1)], hold=hold()))


async def test_every_part_is_charged_and_read_in_order():
    slots = Slots()
    result = await slots.post(window("=g:x", 3), window("m", 3), window("=p", 3))
    assert result == PostResult(Status.CHARGED, (Reading(3, is_over=False),) * 3, (0, 0, 0))


@pytest.mark.parametrize("tag", ["=g:x", "m", "=p"])
async def test_one_refusal_anywhere_leaves_nothing_charged(tag):
    slots = Slots()
    await slots.post(window(tag, 8))
    entries = [window(each, 5) for each in ("=g:x", "m", "=p")]
    sliding = Entry("t:{=p}:hour", 99, 5, DAY, Kind.SLIDING, step=60_000, buckets=60)
    for given in (None, hold()):
        result = await slots.post(*entries, sliding, hold=given)
        found = {entry.key: reading for entry, reading in zip(entries, result.readings, strict=False)}
        assert result.status is Status.OVER
        assert found[f"t:{{{tag}}}:day"] == Reading(8, is_over=True)
        assert [reading.used for reading in found.values()].count(0) == 2
        assert [await slots.used(entry.key) for entry in entries].count(0) == 2
        assert await slots.used(sliding.key, kind=Kind.SLIDING, step=60_000, buckets=60) == 0


async def test_shadow_entries_elsewhere_refuse_nothing():
    slots = Slots()
    result = await slots.post(window("=p", 50, is_shadow=True), window("m", 5))
    assert (result.status, result.readings[0]) == (Status.CHARGED, Reading(0, is_over=True))


async def test_no_answer_from_elsewhere_gives_back_what_was_charged_beside_it():
    slots = Slots()
    slots.fails_at = "=p"
    with pytest.raises(StoreUnavailable):
        await slots.post(window("=g:x", 5), window("=p", 5), window("m", 5))
    assert [await slots.used(f"t:{{{tag}}}:day") for tag in ("=g:x", "m")] == [0, 0]


async def test_no_answer_from_the_merchants_slot_keeps_what_was_charged():
    slots = Slots()
    slots.fails_at = "m"
    with pytest.raises(StoreUnavailable):
        await slots.post(held("=g:x", 5), held("m", 5), hold=hold())
    assert await slots.used("t:{=g:x}:day") == 5


async def test_a_fault_at_the_merchants_gives_back_the_rest():
    slots = Slots()
    await slots.post(Entry("t:{m}:day", 5, 1, DAY, Kind.RATE, step=1))
    with pytest.raises(CounterFault):
        await slots.post(held("=g:x", 5), held("m", 5), hold=hold())
    assert await slots.used("t:{=g:x}:day") == 0


async def settle(slots: Slots, outcome: Outcome, decision: str = "d1") -> list[Settled]:
    asked = Settlement(hold(decision).key, decision, "m 5", outcome)
    others = others_of(asked, slots.notes.get(asked.key, []))
    return [await slots.settle_one(each, slots.clock.monotonic() + 9) for each in (asked, *others)]


@pytest.mark.parametrize(("outcome", "left"), [(Outcome.RELEASED, 0), (Outcome.SPENT, 5), (Outcome.IN_DOUBT, 5)])
async def test_what_is_held_elsewhere_is_settled_with_the_payment(outcome, left):
    slots = Slots()
    attempts = Entry("t:{=g:x}:attempts", 9, 1, DAY)
    assert (await slots.post(held("=g:x", 5), attempts, held("m", 5), hold=hold())).status is Status.CHARGED
    assert await settle(slots, outcome) == [Settled.DONE, Settled.DONE]
    assert [await slots.used(f"t:{{{tag}}}:day") for tag in ("=g:x", "m")] == [left, left]
    assert await slots.used("t:{=g:x}:attempts") == 1


async def test_a_hold_stands_at_the_merchant_although_all_is_counted_elsewhere():
    slots = Slots()
    assert (await slots.post(held("=g:x", 5), hold=hold())).readings == (Reading(5, is_over=False),)
    await settle(slots, Outcome.RELEASED)
    assert await slots.used("t:{=g:x}:day") == 0


async def test_a_repeat_counts_nothing_twice_anywhere():
    slots = Slots()
    identity = Identity("t:{m}:once:1", "digest", DAY)
    for decision, status in (("d1", Status.CHARGED), ("d2", Status.REPEATED)):
        attempts = Entry("t:{=g:x}:attempts", 9, 1, DAY)
        result = await slots.post(held("=g:x", 5), attempts, held("m", 5), hold=hold(decision, identity))
        assert result.status is status
    assert [await slots.used(f"t:{{{tag}}}:day") for tag in ("=g:x", "m")] == [5, 5]
    assert await slots.used("t:{=g:x}:attempts") == 2
    other = hold("d3", identity._replace(digest="other"))
    assert (await slots.post(held("=g:x", 5), held("m", 5), hold=other)).status is Status.MISMATCH
    assert await slots.used("t:{=g:x}:day") == 5


async def test_other_windows_are_said_and_nothing_is_charged():
    slots = Slots()
    entries = [held("=g:x", 5), held("m", 5)]
    result = await slots.groups.post(Posting(entries, 1, 2, hold()), slots.clock.monotonic() + 9)
    assert result == PostResult(Status.STALE, now_ms=int(NOW * 1000))
    assert (await slots.post(*entries, hold=hold())).status is Status.CHARGED


def test_looks_are_split_without_anything_to_undo():
    elsewhere, home = split(Posting([window("m", 0), window("=p", 0)]), Counting())
    assert [part.posting.hold for part in (*elsewhere, home)] == [None, None]
