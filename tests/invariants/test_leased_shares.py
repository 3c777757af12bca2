"""Leased counts: never more than the limit, and refused early by no more than what other replicas hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chassis.ids import RandomIds
from chassis.store_link import StoreUnavailable
from helpers.ledgers import LEDGERS, LedgerUnderTest, opened_ledger
from ratelimit.leased import LIFE_SECONDS, LeasedLedger, largest_share
from ratelimit.ledger import Entry, Hold, Identity, Posting, Status

REPLICAS = 3
LIMIT = 1000
WINDOW = 60


class Ahead:
    """A monotonic clock that a test moves on, never behind the one that the ledger measures deadlines on."""

    def __init__(self, under_test: LedgerUnderTest) -> None:
        self.under_test = under_test
        self.ahead = 0.0

    def monotonic(self) -> float:
        return self.under_test.monotonic() + self.ahead

    def wall(self) -> float:
        return self.under_test.now

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


class Leases(RuleBasedStateMachine):
    """Replicas over one ledger; each one's clock may be wrong, crash and come back."""

    run: ClassVar[Any]
    under_test: ClassVar[LedgerUnderTest]
    machine_numbers: ClassVar[count[int]] = count()

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"{{m}}:{next(self.machine_numbers)}"
        self.clocks = [Ahead(self.under_test) for _ in range(REPLICAS)]
        self.skews = [0.0] * REPLICAS
        self.replicas = [self.replica(number) for number in range(REPLICAS)]
        self.passed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.keys: set[str] = set()

    def replica(self, number: int) -> LeasedLedger:
        return LeasedLedger(self.under_test.ledger, self.clocks[number], RandomIds())

    def posting(self, now: float, *, cost: int = 1) -> Posting:
        first = int(now // WINDOW) * WINDOW
        entry = Entry(f"{self.prefix}:{first}", LIMIT, cost, 10 * WINDOW, lease=self.prefix)
        return Posting([entry], first * 1000, (first + WINDOW) * 1000)

    @rule(number=st.integers(0, REPLICAS - 1), times=st.sampled_from([1, 3, 60, 400]))
    def requests(self, number: int, times: int) -> None:
        posting = self.posting(self.under_test.now + self.skews[number])
        key = posting.entries[0].key
        for _ in range(times):
            status = self.run(self.replicas[number].post(posting, self.clocks[number].monotonic() + 9)).status
            if status is Status.STALE:
                return
            self.keys.add(key)
            if status is Status.OVER:
                held = (REPLICAS - 1) * largest_share(LIMIT) + self.lost[key]
                assert LIMIT - self.passed[key] <= held, (self.passed[key], self.lost[key])
                return
            self.passed[key] += 1

    @rule(seconds=st.sampled_from([0.01, LIFE_SECONDS, 3.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.under_test.advance(seconds)
        for clock in self.clocks:
            clock.advance(seconds)

    @rule(number=st.integers(0, REPLICAS - 1), skew=st.sampled_from([-90.0, -5.0, 0.0, 5.0, 90.0]))
    def clock_jumps(self, number: int, skew: float) -> None:
        self.skews[number] = skew

    @rule(number=st.integers(0, REPLICAS - 1))
    def idle_shares_go_back(self, number: int) -> None:
        self.run(self.replicas[number].give_back())

    @rule(number=st.integers(0, REPLICAS - 1))
    def crashes(self, number: int) -> None:
        for key in self.keys:
            self.lost[key] += largest_share(LIMIT)
        self.replicas[number] = self.replica(number)

    @rule(number=st.integers(0, REPLICAS - 1))
    def restarts(self, number: int) -> None:
        """In order: whole parts go back; the open one is lost with the process."""
        self.run(self.replicas[number].give_back(is_all=True))
        self.crashes(number)

    @invariant()
    def never_more_than_the_limit(self) -> None:
        for key in self.keys:
            look = Posting([Entry(key, LIMIT, 0, WINDOW)])
            used = self.run(self.under_test.post(look)).readings[0].used
            assert self.passed[key] <= used <= LIMIT, (self.passed[key], used)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEDGERS)
async def test_replicas_that_lease_never_pass_the_limit(kind):
    loop = asyncio.get_running_loop()
    async with opened_ledger(kind) as opened:

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

        class Machine(Leases):
            pass

        Machine.run, Machine.under_test = staticmethod(run), opened
        bounds = settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        )
        await asyncio.to_thread(run_state_machine_as_test, Machine, settings=bounds)


class Rig:
    """One or more replicas over a memory ledger."""

    def __init__(self, opened: LedgerUnderTest, replicas: int = 1) -> None:
        self.opened, self.clock = opened, Ahead(opened)
        self.replicas = [LeasedLedger(opened.ledger, self.clock, RandomIds()) for _ in range(replicas)]

    async def post(self, *entries: Entry, replica: int = 0) -> Status:
        return (await self.replicas[replica].post(Posting(entries), self.clock.monotonic() + 9)).status

    async def used(self, key: str) -> int:
        return (await self.opened.post(Posting([Entry(key, LIMIT, 0, WINDOW)]))).readings[0].used


def leased(limit: int = LIMIT, **more: Any) -> Entry:
    return Entry("{m}:day", limit, 1, WINDOW, lease="m", **more)


async def test_small_limits_are_exact_for_one_replica_and_shares_for_two():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened, 2)
        passed = [await rig.post(leased(10), replica=number) for number in (0, 1, 0, 1) * 5]
        assert passed.count(Status.CHARGED) == 10


async def test_many_at_once_draw_once_and_pass_the_limit_exactly():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        found = await asyncio.gather(*(rig.post(leased()) for _ in range(LIMIT + 50)))
        assert found.count(Status.CHARGED) == LIMIT


async def test_what_another_quota_refuses_goes_back_and_is_spent_by_the_next():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        full = Entry("{m}:amount", 5, 6, WINDOW)
        assert [await rig.post(leased(8), full) for _ in range(50)] == [Status.OVER] * 50
        assert [await rig.post(leased(8)) for _ in range(9)].count(Status.CHARGED) == 8


async def test_a_refusal_by_the_leased_quota_charges_no_other_and_a_shadow_refuses_nothing():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        other = Entry("{m}:amount", 50, 6, WINDOW)
        assert await rig.post(leased(0), other) is Status.OVER
        assert await rig.used(other.key) == 0
        assert await rig.post(leased(0, is_shadow=True), other) is Status.CHARGED


async def test_idle_parts_go_back_and_the_rest_at_stop():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        await rig.post(leased())
        assert await rig.used("{m}:day") == 4
        rig.clock.advance(LIFE_SECONDS)
        await rig.replicas[0].give_back()
        assert await rig.used("{m}:day") == 1


async def test_no_store_is_no_pass():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        with pytest.raises(StoreUnavailable):
            await rig.replicas[0].post(Posting([leased()]), rig.clock.monotonic())


async def test_a_payment_that_is_held_asks_the_store_so_that_a_repeat_counts_once():
    async with opened_ledger("memory") as opened:
        rig = Rig(opened)
        assert await rig.post(leased()) is Status.CHARGED
        once = leased(is_once=True)
        for decision, status in (("d1", Status.CHARGED), ("d2", Status.REPEATED)):
            hold = Hold(f"{{m}}:{decision}", decision, "m 1", WINDOW, Identity("{m}:once", "digest", WINDOW))
            asked = Posting([once], hold=hold)
            assert (await rig.replicas[0].post(asked, rig.clock.monotonic() + 9)).status is status
