"""The straight line: match, key, hit, judge. What is not plainly within every limit is over limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from ratelimit.counters import Charge, CounterFault, CounterStore, HitResult
from ratelimit.judge import judge, judge_in_doubt, judge_single, judge_without_store
from ratelimit.model import LimitQuery, OverLimit, Verdict, WithinLimit
from ratelimit.reasons import Reason
from ratelimit.tables import Limit, Plan, Tables
from ratelimit.window import Window, Windows


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


@dataclass(frozen=True, slots=True)
class Engine:
    """What the steps work with besides the policy: the store, the windows and the clock."""

    store: CounterStore
    windows: Windows
    clock: Clock


async def decide(tables: Tables, query: LimitQuery, trail: Trail, deadline: float, engine: Engine) -> Verdict:
    """Judge one hand-off.

    Args:
        tables: The policy snapshot; the same one from first to last step.
        query: The hand-off.
        trail: Filled in for the record.
        deadline: On the engine's monotonic clock; no await of this function outlives it.
        engine: Store, windows, clock.
    """
    trail.step = "match"
    plan = match(tables, query)
    if isinstance(plan, OverLimit):
        return plan
    refusal = judge_single(plan.single, query)
    if refusal is not None:
        return refusal
    counters = _counters(plan, query)
    if isinstance(counters, OverLimit):
        return counters
    if not counters:
        return WithinLimit()
    limits = [limit for limit, _ in counters]
    trail.step = "key"
    merchant = tables.merchants[query.merchant_id]
    now = engine.clock.wall()
    windows = [engine.windows.window(limit.interval, now, merchant.zone) for limit in limits]
    charges = [_charge(counter, window, query, now) for counter, window in zip(counters, windows, strict=True)]
    trail.step = "hit"
    result = await _hit(limits, charges, deadline, engine.store)
    trail.step = "judge"
    if not isinstance(result, HitResult):
        return result
    if engine.clock.monotonic() > deadline:
        # Envoy has stopped listening and refused; what was charged can only over-count.
        return OverLimit(Reason.STORE_UNAVAILABLE, retry_after_seconds=1, detail="the store answered too late")
    return judge(limits, windows, result, now)


async def _hit(
    limits: Sequence[Limit], charges: Sequence[Charge], deadline: float, store: CounterStore
) -> HitResult | Verdict:
    """Step 4: one call; a verdict where the store gives no reading that amounts may be judged by."""
    refusal = judge_in_doubt(limits, store.doubt_about(charges[0].key))
    if refusal is not None:
        # It will be refused, so it costs nothing. It asks all the same: the answer tells when the doubt is over.
        charges = [charge._replace(cost=0) for charge in charges]
    try:
        result = await store.hit(charges, deadline)
    except (StoreUnavailable, CounterFault) as error:
        return judge_without_store(limits, str(error))
    # Again: this very call may have been the one that found the store emptied.
    refusal = refusal if refusal is not None else judge_in_doubt(limits, store.doubt_about(charges[0].key))
    return result if refusal is None else refusal


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
    if query.currency not in plan.covered_currencies:
        return OverLimit(Reason.QUOTA_UNDEFINED)
    return plan


def _counters(plan: Plan, query: LimitQuery) -> list[tuple[Limit, str]] | OverLimit:
    """Return each limit that applies, with the card key its counter belongs to (empty: the merchant's).

    During a rotation a card has two keys, and its quota counts under both: replicas that know one of them and
    replicas that know both then agree on the counter they share, which holds the whole count.
    """
    counters: list[tuple[Limit, str]] = []
    for limit in plan.counted:
        if limit.currency not in (None, query.currency):
            continue
        if not limit.is_per_card:
            counters.append((limit, ""))
        elif query.card_keys:
            counters.extend((limit, card_key) for card_key in query.card_keys)
        elif not (limit.passes_without_card or limit.is_shadow):
            return OverLimit(Reason.CARD_MISSING, detail=f"quota {limit.quota} counts per card")
    return counters


def _charge(counter: tuple[Limit, str], window: Window, query: LimitQuery, now: float) -> Charge:
    """Step 3: the counter of one limit. The merchant is the hash tag: all keys of a hit stay together."""
    limit, card_key = counter
    # `match` has refused a money operation without amount; an amount limit applies to no other.
    cost = 1 if limit.metric == "count" or query.amount_minor is None else query.amount_minor
    key = f"tollhouse:1:{{{query.merchant_id}}}:{limit.quota}:{window.label}"
    key = f"{key}:{card_key}" if card_key else key
    return Charge(key, limit.value, cost, window.expires_in_seconds(now), limit.is_shadow)
