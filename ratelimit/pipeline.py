"""The straight line: match, key, hit, judge. What is not plainly within every limit is over limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from policy.merchants import MerchantEntry
from policy.money import minor_unit_exponent
from ratelimit.judge import judge, judge_in_doubt, judge_single
from ratelimit.ledger import CounterFault, Ledger, PostResult, Status
from ratelimit.local_share import LocalShares
from ratelimit.model import LimitQuery, OverLimit, Verdict, WithinLimit
from ratelimit.posting import Counter, Prepared, as_look, find_counters, places, prepare
from ratelimit.reasons import Reason
from ratelimit.tables import Plan, Tables
from ratelimit.window import Windows


@dataclass(slots=True)
class Trail:
    """What is learnt on the way, for the decision record; decides nothing.

    Attributes:
        decision_id: A fresh one until the hand-off has brought extauthz' own.
        step: The step that was entered last, so the one that decided.
        query: The hand-off, once parsed.
    """

    decision_id: str
    step: str = "parse"
    query: LimitQuery | None = None


@dataclass(slots=True)
class Engine:
    """What the steps work with besides the policy.

    Attributes:
        ledger: Where payments are counted.
        windows: Kept windows.
        clock: Monotonic time for deadlines, wall time as the first guess of the store's.
        store_ahead: Seconds by which the store's clock is ahead of ours, learnt from the store.
        shares: What is counted while the store gives no answer.
    """

    ledger: Ledger
    windows: Windows
    clock: Clock
    store_ahead: float = 0.0
    shares: LocalShares = field(init=False)

    def __post_init__(self) -> None:
        """Begin without a share in use."""
        self.shares = LocalShares(self.clock)

    def now(self) -> float:
        """Return what the store's clock shows, as far as we know; windows are the store's."""
        return self.clock.wall() + self.store_ahead

    def learn(self, store_now_ms: int) -> None:
        """Take the store's time from an answer."""
        self.store_ahead = store_now_ms / 1000 - self.clock.wall()


async def decide(tables: Tables, query: LimitQuery, trail: Trail, deadline: float, engine: Engine) -> Verdict:
    """Judge one hand-off.

    Args:
        tables: The policy snapshot; the same one from first to last step.
        query: The hand-off.
        trail: Filled in for the record.
        deadline: On the engine's monotonic clock; no await of this function outlives it.
        engine: Ledger, windows, clock.
    """
    trail.step = "match"
    plan = match(tables, query)
    if isinstance(plan, OverLimit):
        return plan
    query = converted(plan, query, engine.now())
    refusal = judge_single(plan.single, query, engine.now())
    if refusal is not None:
        return refusal
    trail.step = "key"
    counters = find_counters(plan, query)
    if isinstance(counters, OverLimit):
        return counters
    if not counters:
        return WithinLimit()
    trail.step = "hit"
    hit = await _hit(plan, query, counters, tables.merchants[query.merchant_id], (engine, deadline))
    trail.step = "judge"
    if isinstance(hit, OverLimit | WithinLimit):
        return hit
    if engine.clock.monotonic() > deadline:
        # Envoy has stopped listening and refused; what was charged can only over-count.
        return OverLimit(Reason.STORE_UNAVAILABLE, retry_after_seconds=1, detail="the store answered too late")
    return judge(counters, *hit, engine.now())


def match(tables: Tables, query: LimitQuery) -> Plan | OverLimit:
    """Step 2: the limits of this merchant and operation; nothing passes by omission."""
    plans = tables.plans.get(query.merchant_id)
    if plans is None:
        return OverLimit(Reason.MERCHANT_UNKNOWN)
    if not tables.merchants[query.merchant_id].is_active:
        # extauthz refuses it too; whichever service loads the suspension first closes the gate.
        return OverLimit(Reason.MERCHANT_SUSPENDED)
    plan = plans.get(query.operation)
    if plan is None:
        return OverLimit(Reason.OPERATION_UNKNOWN)
    if not plan.moves_money:
        return plan
    if query.amount_minor is None or query.currency is None:
        return OverLimit(Reason.AMOUNT_MISSING)
    if query.currency not in plan.covered_currencies and not plan.covers_every_currency:
        is_known = minor_unit_exponent(query.currency) is not None
        return OverLimit(Reason.QUOTA_UNDEFINED if is_known else Reason.CURRENCY_UNKNOWN)
    return plan


def converted(plan: Plan, query: LimitQuery, now: float) -> LimitQuery:
    """Return the payment with its amount by the rates of `now`; whoever counts it refuses one that has none."""
    if plan.conversion is None or query.amount_minor is None or query.currency is None:
        return query
    return query._replace(base_minor=plan.conversion.convert(query.amount_minor, query.currency, now))


async def _hit(
    plan: Plan, query: LimitQuery, counters: Sequence[Counter], merchant: MerchantEntry, by: tuple[Engine, float]
) -> tuple[Prepared, PostResult] | Verdict:
    """Step 4: one call; a verdict where the store gives no reading that amounts may be judged by."""
    engine, deadline = by
    refusal, shared = await _judge_doubt(plan, query, counters, merchant, engine)
    try:
        for _ in range(2):
            prepared = prepare(plan, query, counters, merchant, (engine.windows, engine.now()))
            # What will be refused costs nothing. It asks all the same: the answer tells when the doubt is over.
            posting = prepared.posting if refusal is None else as_look(prepared.posting)
            result = await engine.ledger.post(posting, deadline)
            if result.status is not Status.STALE:
                break
            # The store's clock says that other windows hold, and nothing was written: once more, for its time.
            engine.learn(result.now_ms)
    except (StoreUnavailable, CounterFault) as error:
        rest = [counter for counter in counters if counter not in shared]
        if refusal is not None:
            return refusal
        return await engine.shares.judge(plan, query, rest, merchant, str(error))
    if refusal is None and not shared:
        # Again: this very call may have been the one that found the store emptied.
        refusal, _ = await _judge_doubt(plan, query, counters, merchant, engine)
    return (prepared, result) if refusal is None else refusal


async def _judge_doubt(
    plan: Plan, query: LimitQuery, counters: Sequence[Counter], merchant: MerchantEntry, engine: Engine
) -> tuple[OverLimit | None, Sequence[Counter]]:
    """Judge amounts where the store may have forgotten; return who refuses, and what this replica counted by itself.

    A quota with a local share is held to it beside what the store counts anew.
    """
    doubt = next(filter(None, map(engine.ledger.doubt_about, places(plan, query, merchant))), "")
    if not doubt:
        return None, ()
    refusal = judge_in_doubt([counter.limit for counter in counters], doubt)
    shared = [counter for counter in counters if counter.limit.metric == "amount" and counter.limit.local]
    if refusal is not None or not shared:
        return refusal, ()
    verdict = await engine.shares.judge(plan, query, shared, merchant, doubt)
    return verdict if isinstance(verdict, OverLimit) else None, shared
