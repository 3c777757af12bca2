"""on_store_failure: local: without a store a replica lets its share through and no more, and remembers it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.store_link import StoreUnavailable, Unavailability
from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from ratelimit.ledger import Kind
from ratelimit.local_share import LocalShares, local_share
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import OverLimit, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.reasons import Reason
from ratelimit.window import Windows


def shared(percent, *args, **changes):
    """A limit with a local share."""
    whole = limit(*args, denies_without_store=False, **changes)
    return replace(whole, local=local_share(whole, percent))


AMOUNT = shared(50, "day", 2000, metric="amount", currency="EUR")


class UnsteadyStore(MemoryLedger):
    """A store that answers only while it is there, and that may be emptied."""

    def __init__(self, clock):
        super().__init__(clock)
        self.is_there = True
        self.doubt = ""

    def doubt_about(self, key):
        return self.doubt

    async def post(self, posting, deadline):
        if not self.is_there:
            raise StoreUnavailable(next(iter(Unavailability)))
        return await super().post(posting, deadline)


class Rig:
    def __init__(self, *limits):
        self.clock = FakeClock()
        self.store = UnsteadyStore(self.clock)
        self.tables = tables(*limits)
        self.engine = Engine(self.store, Windows(), self.clock)
        self.number = 0

    async def pay(self, amount=400, **changes):
        self.number += 1
        query = limit_query(amount_minor=amount, decision_id=f"{self.number:032x}", **changes)
        trail = Trail(query.decision_id)
        return await decide(self.tables, query, trail, self.clock.monotonic() + 1.0, self.engine)

    async def pass_in_a_row(self, amount=400):
        """Payments that pass until one is refused, at most 20."""
        for passed in range(20):
            if isinstance(await self.pay(amount), OverLimit):
                return passed
        return 20


async def test_a_share_passes_without_a_store_and_no_more():
    rig = Rig(AMOUNT)
    rig.store.is_there = False
    verdicts = [await rig.pay() for _ in range(3)]
    assert [type(verdict) for verdict in verdicts] == [WithinLimit, WithinLimit, OverLimit]
    assert all(verdict.is_without_store for verdict in verdicts[:2])
    assert [(state.quota, state.limit, state.used) for state in verdicts[1].states] == [("day", 1000, 800)]
    assert verdicts[2].reason is Reason.STORE_UNAVAILABLE
    assert verdicts[2].detail.endswith("; this replica's share of day is used up")
    assert verdicts[2].retry_after_seconds == 1


async def test_the_store_judges_again_as_soon_as_it_answers():
    rig = Rig(AMOUNT)
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2
    rig.store.is_there = True
    verdict = await rig.pay()
    assert (type(verdict), verdict.is_without_store) == (WithinLimit, False)
    assert [(state.limit, state.used) for state in verdict.states] == [(2000, 400)]


async def test_a_share_is_of_a_window_not_of_an_outage():
    rig = Rig(AMOUNT)
    for passed in (2, 0):
        rig.store.is_there = False
        assert await rig.pass_in_a_row() == passed
        rig.store.is_there = True
        assert isinstance(await rig.pay(1), WithinLimit)
    rig.clock.advance(86_400)
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2


async def test_a_quota_that_denies_goes_before_a_share_and_costs_it_nothing():
    rig = Rig(AMOUNT, limit("count", 5))
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 0
    rig.tables = tables(AMOUNT)
    assert await rig.pass_in_a_row() == 2


async def test_a_quota_that_allows_is_not_asked():
    rig = Rig(AMOUNT, limit("count", 1, denies_without_store=False))
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2


async def test_a_shadow_share_refuses_nothing():
    rig = Rig(replace(AMOUNT, is_shadow=True, local=local_share(replace(AMOUNT, is_shadow=True), 50)))
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 20


async def test_nothing_is_given_back_to_a_share():
    held = replace(AMOUNT, is_once=True, is_held=True)
    rig = Rig(replace(held, local=local_share(held, 50)))
    plan = rig.tables.plans["m_1"]["create_payment"]
    rig.tables.plans["m_1"]["create_payment"] = replace(plan, is_held=True)
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2


async def test_requests_in_flight_end_with_their_lease_alone():
    whole = limit(
        "open", 4, metric="in_flight", kind=Kind.LEASE, frame=None, step=60_000, expires_in_seconds=120,
        denies_without_store=False,
    )  # fmt: skip
    rig = Rig(replace(whole, local=local_share(whole, 50)))
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2
    rig.clock.advance(61)
    assert await rig.pass_in_a_row() == 2


@pytest.mark.parametrize(("burst", "percent", "at_once", "a_minute"), [(10, 50, 5, 30), (10, 33, 3, 18), (1, 50, 0, 0)])
async def test_of_a_rate_a_replica_has_a_part_of_burst_and_pace(burst, percent, at_once, a_minute):
    whole = limit(
        "rate", 60, kind=Kind.RATE, frame=None, step=1_000_000, buckets=burst, expires_in_seconds=120,
        denies_without_store=False,
    )  # fmt: skip
    rig = Rig(replace(whole, local=local_share(whole, percent)))
    rig.store.is_there = False
    assert await rig.pass_in_a_row(1) == at_once
    passed = 0
    for _ in range(60):
        rig.clock.advance(1)
        passed += isinstance(await rig.pay(1), WithinLimit)
    assert passed == a_minute


async def test_a_value_of_the_moment_is_shared_too():
    whole = replace(AMOUNT, changes=((0.0, 2000), (FakeClock().now + 60, 4000)), local=None)
    rig = Rig(replace(whole, local=local_share(whole, 50)))
    rig.store.is_there = False
    assert await rig.pass_in_a_row() == 2
    rig.clock.advance(60)
    assert await rig.pass_in_a_row() == 3


async def test_a_share_that_is_full_of_counters_refuses():
    rig = Rig(shared(50, "cards", 4, dimensions=("card",)))
    rig.engine.shares = LocalShares(rig.clock, max_keys=2)
    rig.store.is_there = False
    verdicts = [await rig.pay(card_keys=(card,)) for card in ("a", "b", "c", "a")]
    assert [type(verdict) for verdict in verdicts] == [WithinLimit, WithinLimit, OverLimit, WithinLimit]
    assert "nor can it be counted here" in verdicts[2].detail


async def test_an_emptied_store_is_believed_up_to_the_share():
    rig = Rig(AMOUNT)
    rig.store.doubt = "the store was emptied"
    assert await rig.pass_in_a_row() == 2
    rig.store.doubt = ""
    verdict = await rig.pay()
    # What passed meanwhile is in the store, what was refused is not.
    assert [(state.limit, state.used) for state in verdict.states] == [(2000, 1200)]


async def test_an_emptied_store_that_goes_away_too_costs_the_share_once():
    rig = Rig(AMOUNT)
    rig.store.doubt, rig.store.is_there = "the store was emptied", False
    assert await rig.pass_in_a_row() == 2


async def test_the_call_that_finds_the_store_emptied_is_held_to_the_share_as_well():
    rig = Rig(AMOUNT)

    class Emptied(UnsteadyStore):
        async def post(self, posting, deadline):
            self.doubt = "the store was emptied"
            return await super().post(posting, deadline)

    rig.engine.ledger = Emptied(rig.clock)
    assert isinstance(await rig.pay(1001), OverLimit)
    # That payment was charged there before anybody knew: too much is counted, never too little.
    assert isinstance(await rig.pay(1000), OverLimit)
    rig = Rig(AMOUNT)
    rig.engine.ledger = Emptied(rig.clock)
    assert isinstance(await rig.pay(1000), WithinLimit)
    assert isinstance(await rig.pay(1), OverLimit)


async def test_replicas_together_let_no_more_through_than_the_sum_of_their_shares():
    whole = limit("count", 10, denies_without_store=False)
    third = replace(whole, local=local_share(whole, 33))
    passed = 0
    for _ in range(3):
        rig = Rig(third)
        rig.store.is_there = False
        passed += await rig.pass_in_a_row(1)
    assert passed == 9  # 3 of 10 each: broken units are cut off
