"""What quotas have counted, read without counting anything: for tests of a policy set, and for operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chassis.store_link import StoreUnavailable, Unavailability
from policy.merchants import MerchantEntry
from ratelimit.judge import quota_states
from ratelimit.ledger import Status
from ratelimit.model import LimitQuery, OverLimit, QuotaState
from ratelimit.pipeline import Engine, converted, match
from ratelimit.posting import Counter, Prepared, as_look, counters_of, find_counters, prepare
from ratelimit.tables import Limit, Plan, Tables
from ratelimit.window import ENDLESS

_NOBODY = "-"
"""A member that no card is: whom a look asks about does not matter."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How one quota of a merchant stands.

    Attributes:
        limit: The quota, with what counts for the merchant.
        value: The value of the moment.
        operation: Whose counter it is, where each operation has one; empty otherwise.
        key: Of the counter in the store; empty where there is none, or none that can be named.
        state: None in the same case.
        resets_at: Seconds since 1970 at which its window ends; None where it has none, or never ends.
    """

    limit: Limit
    value: int
    operation: str = ""
    key: str = ""
    state: QuotaState | None = None
    resets_at: float | None = None


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
    query = converted(plan, query, engine.now())
    counters = find_counters(plan, query)
    if isinstance(counters, OverLimit) or not counters:
        return counters if isinstance(counters, OverLimit) else ()
    states, _ = await _look(plan, query, counters, tables.merchants[query.merchant_id], (engine, deadline))
    return states


async def usage_of(tables: Tables, merchant_id: str, deadline: float, engine: Engine) -> list[Usage]:
    """Return how every quota of a merchant stands, operation by operation, each once.

    A counter that each card has can be read by whoever knows the card alone; such a quota comes without a state, and so
    does one that compares each payment by itself.

    Args:
        tables: The policy snapshot; it knows the merchant.
        merchant_id: Active or suspended.
        deadline: On the engine's monotonic clock.
        engine: Ledger, windows, clock.

    Raises:
        StoreUnavailable: The ledger gave no answer.
        CounterFault: A counter cannot be read.
    """
    found: list[Usage] = []
    for plan, limit, operation in _limits(tables, merchant_id):
        query = LimitQuery(merchant_id, operation, limit.currency, None, "0" * 32, tables.revision)
        named = operation if "operation" in limit.dimensions else ""
        plain = limit.subject and not set(limit.dimensions) - {"operation"}
        counters = counters_of(limit, query) or ([_distinct(limit, named)] if plain else [])
        if limit.is_single or not counters:
            found.append(Usage(limit, limit.value_at(engine.now()), named))
            continue
        merchant = tables.merchants[merchant_id]
        (state,), prepared = await _look(plan, query, counters[:1], merchant, (engine, deadline))
        (window,) = prepared.windows
        ends_at = None if window is None or window.ends_at == ENDLESS else window.ends_at
        found.append(Usage(limit, state.limit, named, prepared.posting.entries[0].key, state, ends_at))
    return found


def _limits(tables: Tables, merchant_id: str) -> Iterator[tuple[Plan, Limit, str]]:
    """Yield each limit once, or once for each operation that has a counter of its own."""
    seen: set[tuple[str, str]] = set()
    for operation, plan in tables.plans[merchant_id].items():
        for limit in (*plan.single, *plan.counted):
            key = (limit.quota, operation if "operation" in limit.dimensions else "")
            if key not in seen:
                seen.add(key)
                yield plan, limit, operation


def _distinct(limit: Limit, operation: str) -> Counter:
    return Counter(limit, f":{operation}" if operation else "", _NOBODY)


async def _look(
    plan: Plan, query: LimitQuery, counters: Sequence[Counter], merchant: MerchantEntry, by: tuple[Engine, float]
) -> tuple[tuple[QuotaState, ...], Prepared]:
    """Return the states, and what was asked."""
    engine, deadline = by
    for _ in range(2):
        now = engine.now()
        prepared = prepare(plan, query, counters, merchant, (engine.windows, now))
        result = await engine.ledger.post(as_look(prepared.posting), deadline)
        if result.status is not Status.STALE:
            break
        engine.learn(result.now_ms)
    states = quota_states(counters, prepared, result, now)
    if not states:
        raise StoreUnavailable(Unavailability.PROTOCOL)
    return states, prepared
