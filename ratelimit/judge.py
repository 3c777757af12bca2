"""Step 5: turn readings into a verdict. Only here is `WithinLimit` said about a counted request."""

from __future__ import annotations

from collections.abc import Sequence

from ratelimit.ledger import PostResult, Status
from ratelimit.model import LimitQuery, OverLimit, QuotaState, Verdict, WithinLimit
from ratelimit.posting import Counter, Prepared
from ratelimit.reasons import Reason
from ratelimit.tables import Limit
from ratelimit.warnings import crossed_levels, is_charged

_STORE_RETRY_SECONDS = 1


def judge_single(limits: Sequence[Limit], query: LimitQuery, now: float) -> OverLimit | None:
    """Compare one payment with the limits for a single payment; they need no counter."""
    for limit in limits:
        amount = limit.amount_of(query)
        if amount is None and limit.is_converted and not limit.is_shadow:
            return OverLimit(Reason.RATE_MISSING, detail=f"quota {limit.quota} has no rate for {query.currency}")
        if limit.is_shadow or amount is None:
            continue
        value = limit.value_at(now)
        if amount > value:
            state = QuotaState(limit.quota, value, 0, 0, is_over=True, is_shadow=False, is_per_second=False)
            return OverLimit(Reason.SINGLE_LIMIT_EXCEEDED, deciding=state, states=(state,))
    return None


def judge(counters: Sequence[Counter], prepared: Prepared, result: PostResult, now: float) -> Verdict:
    """Judge the readings of one posting.

    Args:
        counters: In the order of the entries.
        prepared: Windows and values in the same order.
        result: Readings in the same order.
        now: Seconds since 1970, the moment the windows were chosen for.
    """
    if result.status is Status.MISMATCH:
        return OverLimit(Reason.IDEMPOTENCY_MISMATCH)
    states = quota_states(counters, prepared, result, now)
    enforced = [state for state in states if not state.is_shadow]
    over = [state for state in enforced if state.is_over]
    if over:
        return _over(over, states)
    if result.status not in (Status.CHARGED, Status.REPEATED) or not states:
        # The store refused and no reading says why: no verdict, so no pass.
        return OverLimit(Reason.STORE_UNAVAILABLE, states=states, retry_after_seconds=_STORE_RETRY_SECONDS)
    return WithinLimit(states, min(enforced, key=_share_left, default=None))


def quota_states(
    counters: Sequence[Counter], prepared: Prepared, result: PostResult, now: float
) -> tuple[QuotaState, ...]:
    """Return how each quota stands; nothing where the readings are not those of the counters."""
    if not len(counters) == len(result.readings) == len(result.waits_ms):
        return ()
    return tuple(
        # By position, which costs half of what names do; the order is that of the class.
        QuotaState(
            counter.limit.quota,
            value,
            reading.used,
            window.reset_seconds(now) if window is not None else -(-wait_ms // 1000),
            reading.is_over,
            counter.limit.is_shadow,
            counter.limit.is_rate,
            _crossed(counter.limit, place, prepared, result) if counter.limit.warn_at else (),
            counter.limit.told,
        )
        for place, (counter, window, value, reading, wait_ms) in enumerate(
            zip(counters, prepared.windows, prepared.values, result.readings, result.waits_ms, strict=True)
        )
    )


def _crossed(limit: Limit, place: int, prepared: Prepared, result: PostResult) -> tuple[int, ...]:
    reading = result.readings[place]
    if not is_charged(limit, result, is_over=reading.is_over):
        return ()
    return crossed_levels(limit, prepared.posting.entries[place], prepared.values[place], reading.used)


def _over(over: Sequence[QuotaState], states: tuple[QuotaState, ...]) -> OverLimit:
    """Name the quota that keeps the request out longest: retrying earlier would be in vain."""
    deciding = max(over, key=lambda state: state.reset_seconds)
    reason = Reason.RATE_EXCEEDED if deciding.is_per_second else Reason.QUOTA_EXCEEDED
    # Of a quota that never begins anew, nobody can say when to come back.
    return OverLimit(reason, deciding, states, retry_after_seconds=deciding.reset_seconds or None)


def _share_left(state: QuotaState) -> float:
    return (state.limit - state.used) / state.limit if state.limit else 0.0


def judge_without_store(limits: Sequence[Limit], detail: str) -> Verdict:
    """Apply `on_store_failure`: one enforced quota that denies is enough."""
    if any(limit.denies_without_store and not limit.is_shadow for limit in limits):
        return OverLimit(Reason.STORE_UNAVAILABLE, retry_after_seconds=_STORE_RETRY_SECONDS, detail=detail)
    return WithinLimit(is_without_store=True)


def judge_in_doubt(limits: Sequence[Limit], doubt: str) -> OverLimit | None:
    """Apply `on_store_failure` of amounts to a store that may have forgotten; None: nothing forbids to go on."""
    if doubt and any(
        limit.metric == "amount" and limit.denies_without_store and not limit.is_shadow for limit in limits
    ):
        return OverLimit(Reason.STORE_UNAVAILABLE, retry_after_seconds=_STORE_RETRY_SECONDS, detail=doubt)
    return None


def judge_share(states: Sequence[QuotaState], why: str) -> Verdict:
    """Judge what this replica has counted by itself, without the store.

    Args:
        states: The quotas with a local share; none where they could not be counted, so no pass.
        why: What is wrong with the store, for the operator.
    """
    over = next((state for state in states if state.is_over and not state.is_shadow), None)
    if over is None and states:
        return WithinLimit(tuple(states), is_without_store=True)
    # The quota itself may have room, and another replica too: it is the store that is missing.
    detail = why if over is None else f"{why}; this replica's share of {over.quota} is used up"
    return OverLimit(Reason.STORE_UNAVAILABLE, over, tuple(states), _STORE_RETRY_SECONDS, detail)
