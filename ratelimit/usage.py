"""What quotas have counted, read without counting anything: for tests of a policy set, and for operators."""

from __future__ import annotations

from ratelimit.judge import quota_states
from ratelimit.ledger import Status
from ratelimit.model import LimitQuery, OverLimit, QuotaState
from ratelimit.pipeline import Engine, match
from ratelimit.posting import as_look, find_counters, prepare
from ratelimit.tables import Tables


async def look_at(
    tables: Tables, query: LimitQuery, deadline: float, engine: Engine
) -> tuple[QuotaState, ...] | OverLimit:
    """Return how each quota stands that a request would be counted by, or why it would be refused uncounted.

    Args:
        tables: The policy snapshot.
        query: The request; it is not judged and adds nothing.
        deadline: On the engine's monotonic clock.
        engine: Ledger, windows, clock.

    Raises:
        StoreUnavailable: The ledger gave no answer.
        CounterFault: A counter cannot be read.
    """
    plan = match(tables, query)
    if isinstance(plan, OverLimit):
        return plan
    counters = find_counters(plan, query)
    if isinstance(counters, OverLimit) or not counters:
        return counters if isinstance(counters, OverLimit) else ()
    merchant = tables.merchants[query.merchant_id]
    for _ in range(2):
        now = engine.now()
        prepared = prepare(plan, query, counters, merchant, (engine.windows, now))
        result = await engine.ledger.post(as_look(prepared.posting), deadline)
        if result.status is not Status.STALE:
            break
        engine.learn(result.now_ms)
    return quota_states(counters, prepared, result, now)
