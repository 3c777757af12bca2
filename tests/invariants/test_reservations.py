"""Reservations: however charges and outcomes interleave, usage is never less than what was taken or may have been."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from chassis.clock import SystemClock
from helpers.ledgers import LEDGERS, LedgerUnderTest, opened_ledger
from helpers.store_fleets import clustered
from helpers.waiting import until
from ratelimit.ledger import Entry, Hold, Identity, Kind, Outcome, Posting, Settled, Status
from ratelimit.store_ledger import StoreLedger

DAY = 86_400
LIMIT = 1000
REPEATS = st.none() | st.integers(0, 1)


@dataclass(slots=True)
class Payment:
    """What really became of one payment, whichever requests carried it; `amount` is what each request asks for."""

    identity: Identity | None
    amount: int
    is_taken: bool = False
    is_open: bool = False


@dataclass(slots=True)
class Request:
    """One request that was let through, and the outcome that its log entry will tell."""

    payment: Payment
    posting: Posting
    outcome: Outcome


class Reservations(RuleBasedStateMachine):
    """Requests of two kinds: payments of their own, and payments that a client repeats under one idempotency key."""

    run: ClassVar[Any]
    under_test: ClassVar[LedgerUnderTest]
    machine_numbers: ClassVar[count[int]] = count()

    requests = Bundle("requests")
    settled = Bundle("settled")

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"{{m}}:{next(self.machine_numbers)}"
        self.numbers = count()
        self.payments: list[Payment] = []
        self.repeated: dict[int, Payment] = {}
        self.under_way = 0

    def entries(self, amount: int) -> list[Entry]:
        common = {"is_once": True, "is_held": True}
        return [
            Entry(f"{self.prefix}:day", LIMIT, amount, DAY, **common),
            Entry(f"{self.prefix}:hour", LIMIT, amount, DAY, Kind.SLIDING, step=3_600_000, buckets=24, **common),
        ]

    def post(self, payment: Payment) -> tuple[Posting, Status]:
        decision = f"d{next(self.numbers)}"
        hold = Hold(f"{self.prefix}:{decision}", decision, f"m {payment.amount}", DAY, payment.identity)
        posting = Posting(self.entries(payment.amount), hold=hold)
        return posting, self.run(self.under_test.post(posting)).status

    def payment(self, repeat: int | None, amount: int) -> Payment:
        if repeat in self.repeated:
            return self.repeated[repeat]
        identity = None if repeat is None else Identity(f"{self.prefix}:id{repeat}", f"digest{amount}", DAY)
        payment = Payment(identity, amount)
        self.payments.append(payment)
        if repeat is not None:
            self.repeated[repeat] = payment
        return payment

    @rule(
        target=requests,
        repeat=REPEATS,
        amount=st.integers(1, 400),
        reached=st.booleans(),
        outcome=st.sampled_from(Outcome),
    )
    def pay(self, repeat: int | None, amount: int, reached: bool, outcome: Outcome) -> Request | None:
        payment = self.payment(repeat, amount)
        posting, status = self.post(payment)
        assert status in (Status.CHARGED, Status.REPEATED, Status.OVER)
        if status is Status.OVER:
            return None
        # The upstream takes a payment of one identity once; it is said to be released only if it was not taken.
        if outcome is Outcome.SPENT or (outcome is Outcome.IN_DOUBT and reached):
            payment.is_taken = True
        self.under_way += 1
        return Request(payment, posting, outcome)

    @rule(target=requests, reached=st.booleans(), outcome=st.sampled_from(Outcome))
    def pay_again(self, reached: bool, outcome: Outcome) -> Request | None:
        """The same payment, as a client repeats it that got no answer."""
        return self.pay(repeat=0, amount=1, reached=reached, outcome=outcome)

    @rule(repeat=REPEATS, amount=st.integers(1, 400))
    def answer_lost(self, repeat: int | None, amount: int) -> None:
        """The charge may be written and the caller does not learn it: the request is refused and nothing is taken."""
        payment = self.payment(repeat, amount)
        _, status = self.post(payment)
        payment.is_open = payment.is_open or status is not Status.OVER

    @rule(target=settled, request=consumes(requests))
    def outcome_arrives(self, request: Request | None) -> Request | None:
        if request is None:
            return None
        self.under_way -= 1
        assert self.run(self.under_test.settle(request.posting, request.outcome)) is not Settled.OTHERWISE
        if request.outcome is Outcome.IN_DOUBT:
            request.payment.is_open = True
        return request

    @rule(request=settled, outcome=st.sampled_from(Outcome))
    def outcome_arrives_again(self, request: Request | None, outcome: Outcome) -> None:
        """Whatever a second word says, the first one stands."""
        if request is not None:
            again = self.run(self.under_test.settle(request.posting, outcome))
            assert again in (Settled.UNKNOWN,), again

    @rule(request=consumes(requests))
    def outcome_is_lost(self, request: Request | None) -> None:
        if request is not None:
            self.under_way -= 1
            request.payment.is_open = True

    @rule(request=requests)
    def outcome_of_another_amount(self, request: Request | None) -> None:
        if request is not None:
            wrong = self.run(self.under_test.settle(request.posting, Outcome.RELEASED, about="m 0"))
            assert wrong is Settled.OTHERWISE

    @rule(seconds=st.integers(1, 600))
    def time_passes(self, seconds: int) -> None:
        self.under_test.advance(seconds)

    @rule()
    def service_restarts(self) -> None:
        """What is held lives in the ledger alone: a service that starts again knows as much."""
        if self.under_test.restart is not None:
            self.run(self.under_test.restart())

    @invariant()
    def usage_covers_what_was_taken(self) -> None:
        used = self.used()
        taken = sum(payment.amount for payment in self.payments if payment.is_taken)
        assert all(taken <= each <= LIMIT for each in used), (taken, used)
        if self.under_way == 0:
            known = sum(payment.amount for payment in self.payments if payment.is_taken)
            open_ = sum(payment.amount for payment in self.payments if payment.is_taken or payment.is_open)
            assert all(known <= each <= open_ for each in used), (known, open_, used)

    def used(self) -> list[int]:
        looks = [entry._replace(cost=0, is_held=False, is_once=False) for entry in self.entries(0)]
        return [reading.used for reading in self.run(self.under_test.post(Posting(looks))).readings]


class SpreadReservations(Reservations):
    """The second counter is the platform's, which a cluster keeps in another slot than the merchant's."""

    def entries(self, amount: int) -> list[Entry]:
        day, hour = super().entries(amount)
        return [day, hour._replace(key=f"{{=p}}:{self.prefix}")]


@pytest.mark.parametrize("kind", LEDGERS)
async def test_usage_is_never_less_than_what_was_taken_or_may_have_been(kind):
    async with opened_ledger(kind) as opened:
        await hold_to(Reservations, opened, examples=150)


@pytest.mark.slow
async def test_usage_is_never_less_in_a_cluster_either(tmp_path):
    clock = SystemClock()
    async with clustered(tmp_path) as fleet:
        ledger = StoreLedger.from_url(fleet.url, clock)

        def set_time(now: float) -> None:
            ledger.judged_at_ms = int(now * 1000)

        opened = LedgerUnderTest(ledger, clock.monotonic, set_time)
        opened.advance(0)
        await ledger.start()
        try:
            await until(lambda: ledger.is_available, 20)
            await hold_to(SpreadReservations, opened, examples=50)
        finally:
            await ledger.stop()


async def hold_to(machine: type[Reservations], opened: LedgerUnderTest, *, examples: int) -> None:
    """Run a machine on a ledger of this loop."""
    loop = asyncio.get_running_loop()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    class Machine(machine):  # type: ignore[misc, valid-type]
        pass

    Machine.run, Machine.under_test = staticmethod(run), opened
    bounds = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=bounds)
