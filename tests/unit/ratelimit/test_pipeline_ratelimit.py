"""match, key, hit, judge: what is not plainly within every limit is over limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.store_link import StoreUnavailable, Unavailability
from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import OverLimit, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.reasons import Reason
from ratelimit.window import Windows


class Rig:
    """The steps over a memory store and a clock that stands still."""

    def __init__(self, *limits, store=None, **options):
        self.clock = FakeClock()
        self.tables = tables(*limits, **options)
        self.engine = Engine(store or MemoryLedger(self.clock), Windows(), self.clock)
        self.trail = Trail("d" * 32)

    async def decide(self, **changes):
        deadline = self.clock.monotonic() + 1.0
        return await decide(self.tables, limit_query(**changes), self.trail, deadline, self.engine)


class AwayStore:
    """A store that never answers in time."""

    is_available = False

    def doubt_about(self, key):
        return ""

    async def start(self):
        """Nothing to start."""

    async def stop(self):
        """Nothing to stop."""

    async def post(self, posting, deadline):
        raise StoreUnavailable(next(iter(Unavailability)))


class DoubtfulStore(MemoryLedger):
    """A store that counts, and that somebody has emptied."""

    doubt = "the store was emptied"

    def doubt_about(self, key):
        return self.doubt


AMOUNT = limit("daily_amount", 2500, metric="amount", currency="EUR")
SINGLE = limit("single", 2000, metric="amount", currency="EUR", interval="per_transaction")
RATE = limit("rate", 2, interval="per_second", denies_without_store=False)


async def test_payment_within_every_limit_passes_and_the_tightest_quota_is_named():
    verdict = await Rig(AMOUNT, SINGLE, RATE).decide()
    assert isinstance(verdict, WithinLimit)
    assert (verdict.deciding.quota, verdict.deciding.used) == ("rate", 1)
    assert [state.used for state in verdict.states] == [1000, 1]


async def test_daily_amount_is_refused_at_the_payment_that_would_exceed_it_and_costs_nothing():
    rig = Rig(AMOUNT)
    assert isinstance(await rig.decide(), WithinLimit)
    assert isinstance(await rig.decide(), WithinLimit)
    refused = await rig.decide()
    assert isinstance(refused, OverLimit)
    assert (refused.reason, refused.deciding.quota, refused.deciding.used) == (
        Reason.QUOTA_EXCEEDED,
        "daily_amount",
        2000,
    )
    assert refused.retry_after_seconds == refused.deciding.reset_seconds > 0
    assert isinstance(await rig.decide(amount_minor=500), WithinLimit)


async def test_daily_amount_starts_anew_at_the_merchants_midnight():
    rig = Rig(AMOUNT)
    await rig.decide(amount_minor=2500)
    refused = await rig.decide()
    rig.clock.advance(refused.retry_after_seconds)
    assert isinstance(await rig.decide(), WithinLimit)


async def test_rate_is_refused_for_the_rest_of_the_second():
    rig = Rig(RATE)
    await rig.decide()
    await rig.decide()
    refused = await rig.decide()
    assert (refused.reason, refused.retry_after_seconds) == (Reason.RATE_EXCEEDED, 1)
    rig.clock.advance(1.0)
    assert isinstance(await rig.decide(), WithinLimit)


async def test_of_two_quotas_that_are_over_the_longer_wait_decides():
    rig = Rig(limit("day", 1), limit("second", 1, interval="per_second"))
    await rig.decide()
    refused = await rig.decide()
    assert refused.deciding.quota == "day"


@pytest.mark.parametrize(("amount", "passes"), [(2000, True), (2001, False)])
async def test_single_payment_limit_is_compared_without_a_counter(amount, passes):
    verdict = await Rig(SINGLE, store=AwayStore()).decide(amount_minor=amount)
    assert isinstance(verdict, WithinLimit) is passes
    if not passes:
        assert (verdict.reason, verdict.retry_after_seconds) == (Reason.SINGLE_LIMIT_EXCEEDED, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"merchant_id": "m_ghost"}, Reason.MERCHANT_UNKNOWN),
        ({"operation": "other"}, Reason.OPERATION_UNKNOWN),
        ({"amount_minor": None, "currency": None}, Reason.AMOUNT_MISSING),
        ({"currency": "USD"}, Reason.QUOTA_UNDEFINED),
        ({"currency": "XYZ"}, Reason.CURRENCY_UNKNOWN),
        ({"currency": "XAU"}, Reason.CURRENCY_UNKNOWN),
    ],
)
async def test_nothing_passes_by_omission(changes, reason):
    verdict = await Rig(AMOUNT).decide(**changes)
    assert isinstance(verdict, OverLimit)
    assert verdict.reason is reason


async def test_suspended_merchant_is_refused_by_the_limiter_as_well():
    rig = Rig(AMOUNT)
    suspended = replace(rig.tables.merchants["m_1"], is_active=False)
    rig.tables = replace(rig.tables, merchants={"m_1": suspended})
    verdict = await rig.decide()
    assert isinstance(verdict, OverLimit)
    assert verdict.reason is Reason.MERCHANT_SUSPENDED


async def test_shadow_quota_is_counted_and_never_refuses():
    shadow = limit("shadow", 1, is_shadow=True)
    rig = Rig(AMOUNT, shadow)
    await rig.decide()
    verdict = await rig.decide()
    assert isinstance(verdict, WithinLimit)
    assert [state.quota for state in verdict.states if state.is_over] == ["shadow"]


async def test_shadow_single_limit_does_not_refuse():
    rig = Rig(AMOUNT, limit("s", 1, metric="amount", currency="EUR", interval="per_transaction", is_shadow=True))
    assert isinstance(await rig.decide(), WithinLimit)


async def test_without_a_store_one_quota_that_denies_is_enough():
    verdict = await Rig(AMOUNT, RATE, store=AwayStore()).decide()
    assert isinstance(verdict, OverLimit)
    assert (verdict.reason, verdict.reason.spec.http_status) == (Reason.STORE_UNAVAILABLE, 503)


async def test_without_a_store_quotas_that_allow_let_pass_and_it_shows():
    verdict = await Rig(RATE, moves_money=False, store=AwayStore()).decide(amount_minor=None, currency=None)
    assert isinstance(verdict, WithinLimit)
    assert verdict.is_without_store


async def test_store_that_answers_after_the_deadline_is_no_pass():
    class LateStore(MemoryLedger):
        async def post(self, posting, deadline):
            result = await super().post(posting, deadline)
            rig.clock.advance(5.0)
            return result

    rig = Rig(AMOUNT)
    rig.engine = Engine(LateStore(rig.clock), Windows(), rig.clock)
    verdict = await rig.decide()
    assert isinstance(verdict, OverLimit)
    assert verdict.reason is Reason.STORE_UNAVAILABLE


async def test_amount_in_a_store_that_was_emptied_is_refused_and_costs_nothing():
    store = DoubtfulStore(FakeClock())
    rig = Rig(AMOUNT, RATE, store=store)
    verdict = await rig.decide()
    assert isinstance(verdict, OverLimit)
    assert (verdict.reason, verdict.detail) == (Reason.STORE_UNAVAILABLE, "the store was emptied")
    store.doubt = ""
    accepted = await rig.decide()
    assert isinstance(accepted, WithinLimit)
    assert [state.used for state in accepted.states] == [1000, 1]


async def test_amount_that_was_charged_by_the_call_that_found_the_store_emptied_is_refused():
    class EmptiedMeanwhile(DoubtfulStore):
        doubt = ""

        async def post(self, posting, deadline):
            result = await super().post(posting, deadline)
            self.doubt = "the store was emptied"
            return result

    verdict = await Rig(AMOUNT, store=EmptiedMeanwhile(FakeClock())).decide()
    assert isinstance(verdict, OverLimit)
    assert verdict.reason is Reason.STORE_UNAVAILABLE


@pytest.mark.parametrize(
    "limits", [(RATE,), (replace(AMOUNT, denies_without_store=False),), (replace(AMOUNT, is_shadow=True),)]
)
async def test_limits_that_may_forget_go_on_in_a_store_that_was_emptied(limits):
    verdict = await Rig(*limits, store=DoubtfulStore(FakeClock())).decide()
    assert isinstance(verdict, WithinLimit)
    assert [state.used for state in verdict.states] == [1 if limits == (RATE,) else 1000]


@pytest.mark.parametrize(("scope", "is_refused"), [("merchant", False), ("platform", True), ("group", True)])
async def test_an_emptied_place_of_a_group_or_the_platform_refuses_amounts_as_the_merchants_does(scope, is_refused):
    store = DoubtfulStore(FakeClock())
    store.doubt_about = lambda key: "" if "{m_1}" in key else DoubtfulStore.doubt
    verdict = await Rig(replace(AMOUNT, scope=scope), store=store).decide()
    assert isinstance(verdict, OverLimit) is is_refused
