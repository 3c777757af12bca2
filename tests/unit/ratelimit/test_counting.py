"""Every interval and metric of quotas.yaml, from the file to the verdict, over a real clock that a test moves."""

from __future__ import annotations

import pytest

from chassis.ids import RandomIds
from helpers.clock import FakeClock
from helpers.limits import limit_query
from helpers.services import copy_policies
from policy.loader import load_policy_set
from ratelimit.compile import compile_tables
from ratelimit.leased import LeasedLedger
from ratelimit.ledger import Outcome, Settlement
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import OverLimit, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.posting import hold_about, hold_key
from ratelimit.reasons import Reason
from ratelimit.window import Windows

HOUR, DAY = 3600, 86_400
COVER = "  - {id: cover, owner: a, metric: amount, interval: lifetime, currency: EUR, limit: 9000000000000, "
OPERATIONS = "operations: [create_payment]}\n"
AMOUNT = "metric: amount, currency: EUR, limit: 1000, "


class Gate:
    """The steps of the service on the shipped set, with other quotas."""

    def __init__(self, tmp_path, quota: str, merchants: str = "") -> None:
        policies = copy_policies(tmp_path / "policies")
        quotas = f"quotas:\n{COVER}{OPERATIONS}  - {{id: q, owner: a, {quota}, {OPERATIONS}"
        (policies / "quotas.yaml").write_text(quotas)
        if merchants:
            file = policies / "merchants.yaml"
            file.write_text(file.read_text() + merchants)
        self.clock = FakeClock(1_775_000_000.0)  # 2026-03-31T23:33:20Z, a Tuesday; the first of April in Berlin
        self.tables = compile_tables(load_policy_set(policies))
        self.ledger = MemoryLedger(self.clock)
        self.engine = Engine(self.ledger, Windows(), self.clock)
        self.number = 0

    async def pay(self, amount: int = 100, merchant: str = "m_active", **changes):
        self.number += 1
        query = limit_query(merchant_id=merchant, amount_minor=amount, decision_id=f"{self.number:032x}", **changes)
        return await decide(self.tables, query, Trail("d" * 32), self.clock.monotonic() + 1, self.engine)

    async def passes(self, amount: int = 100, **changes) -> bool:
        verdict = await self.pay(amount, **changes)
        assert isinstance(verdict, WithinLimit | OverLimit)
        return isinstance(verdict, WithinLimit)

    async def settle(self, outcome: Outcome, amount: int = 100) -> None:
        decision = f"{self.number:032x}"
        about = hold_about("m_active", "create_payment", "EUR", amount)
        settlement = Settlement(hold_key("m_active", decision), decision, about, outcome)
        await self.ledger.settle(settlement, self.clock.monotonic() + 1)


@pytest.mark.parametrize(
    ("interval", "wait"),
    [
        ("interval: daily", 22 * HOUR + 26 * 60 + 40),
        ("interval: daily, cut_off: '02:00'", 26 * 60 + 40),
        ("interval: daily, time_zone: Asia/Shanghai", 16 * HOUR + 26 * 60 + 40),
        ("interval: weekly", 4 * DAY + 22 * HOUR + 26 * 60 + 40),
        ("interval: weekly, start_day: thursday", 22 * HOUR + 26 * 60 + 40),
        ("interval: monthly", 29 * DAY + 22 * HOUR + 26 * 60 + 40),
        ("interval: monthly, start_day: 2", 22 * HOUR + 26 * 60 + 40),
        ("interval: rolling, length: 1h", 26 * 60 + 40),
        ("interval: sliding, length: 1h", HOUR + 60 - 20),
    ],
)
async def test_amount_is_free_again_when_its_window_has_passed(tmp_path, interval, wait):
    gate = Gate(tmp_path, AMOUNT + interval)
    assert await gate.passes(600)
    refused = await gate.pay(600)
    assert isinstance(refused, OverLimit)
    assert (refused.reason, refused.deciding.quota) == (Reason.QUOTA_EXCEEDED, "q")
    assert refused.retry_after_seconds == wait
    gate.clock.advance(wait - 1)
    assert not await gate.passes(600)
    gate.clock.advance(1)
    assert await gate.passes(600)


async def test_lifetime_is_never_free_again_and_says_no_time(tmp_path):
    gate = Gate(tmp_path, AMOUNT + "interval: lifetime")
    assert await gate.passes(1000)
    gate.clock.advance(5 * 365 * DAY)
    refused = await gate.pay(1)
    assert (refused.reason, refused.retry_after_seconds) == (Reason.QUOTA_EXCEEDED, None)


async def test_rate_lets_a_burst_through_and_then_its_pace(tmp_path):
    gate = Gate(tmp_path, "metric: count, interval: rate, length: 1m, limit: 60, burst: 3")
    assert [await gate.passes() for _ in range(4)] == [True, True, True, False]
    assert (await gate.pay()).reason is Reason.RATE_EXCEEDED
    gate.clock.advance(1)
    assert [await gate.passes() for _ in range(2)] == [True, False]


async def test_requests_in_flight_end_with_their_outcome_or_their_lease(tmp_path):
    gate = Gate(tmp_path, "metric: in_flight, limit: 2, lease: 30s")
    assert [await gate.passes() for _ in range(3)] == [True, True, False]
    gate.number = 2
    await gate.settle(Outcome.SPENT)
    gate.number = 3
    assert [await gate.passes() for _ in range(2)] == [True, False]
    gate.clock.advance(30)
    assert await gate.passes()


async def test_platform_counter_is_shared_by_all_merchants(tmp_path):
    gate = Gate(tmp_path, AMOUNT + "interval: daily, per: platform")
    assert await gate.passes(600, merchant="m_active")
    assert not await gate.passes(600, merchant="m_daily")


async def test_group_counter_is_shared_by_its_merchants_alone(tmp_path):
    gate = Gate(tmp_path, AMOUNT + "interval: daily, per: group")
    assert [await gate.passes(600) for _ in range(2)] == [True, True]  # m_active is in no group: nothing to count


async def test_authorized_amount_is_given_back_when_the_upstream_did_not_take_it(tmp_path):
    gate = Gate(tmp_path, AMOUNT + "interval: daily, counts: authorized")
    assert await gate.passes(1000)
    await gate.settle(Outcome.RELEASED, 1000)
    assert await gate.passes(1000)
    await gate.settle(Outcome.IN_DOUBT, 1000)
    assert not await gate.passes(1)


async def test_store_with_another_clock_is_followed_and_each_payment_counted_once(tmp_path):
    gate = Gate(tmp_path, AMOUNT + "interval: daily")
    store_clock = FakeClock(gate.clock.now + 3 * DAY)
    gate.engine.ledger = ledger = MemoryLedger(store_clock)
    store_clock.elapsed = gate.clock.elapsed
    assert await gate.passes(600)
    assert gate.engine.store_ahead == pytest.approx(3 * DAY, abs=0.01)
    assert not await gate.passes(600)
    assert await gate.passes(400)
    assert ledger is gate.engine.ledger


async def test_leased_count_is_drawn_ahead_and_holds_its_limit(tmp_path):
    gate = Gate(tmp_path, "metric: count, interval: daily, limit: 2000, coordination: leased")
    leased = gate.engine.ledger = LeasedLedger(gate.engine.ledger, gate.clock, RandomIds())
    assert [await gate.passes() for _ in range(2001)].count(True) == 2000
    await leased.stop()
