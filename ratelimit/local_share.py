"""`on_store_failure: local`: while the store gives no answer, this replica counts by itself, up to its share.

Called by `pipeline` where there is no reading to judge by. Its law: over all replicas no more passes than the sum of
their shares, and that in each window, however often the store goes away in it: what was counted here is not forgotten
when the store is back, and never given back, for nobody knows then which replica an outcome belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from policy.merchants import MerchantEntry
from ratelimit.judge import judge_share, judge_without_store, quota_states
from ratelimit.ledger import CounterFault, Kind, Status
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import LimitQuery, OverLimit, QuotaState, Verdict
from ratelimit.posting import Counter, prepare
from ratelimit.tables import Limit, Plan
from ratelimit.window import Windows

MAX_KEYS: Final = 200_000
"""Counters kept at once; a payment that needs one more is refused."""
_ALLOWED_SECONDS: Final = 1.0  # nothing here waits; the payment's own deadline may lie behind it already


class LocalShares:
    """What this replica has counted without a store. Belongs to one event loop.

    Args:
        clock: Wall time is what windows are chosen by here.
        max_keys: Counters kept at once.
    """

    def __init__(self, clock: Clock, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._windows = Windows()
        self._ledger = MemoryLedger(clock, max_keys=max_keys)

    async def judge(
        self, plan: Plan, query: LimitQuery, counters: Sequence[Counter], merchant: MerchantEntry, why: str
    ) -> Verdict:
        """Judge a payment that the store does not judge: by what its quotas say for that.

        Args:
            plan: Of the payment.
            query: The payment.
            counters: Those that the store gives no reading of.
            merchant: Whose they are.
            why: What is wrong with the store, for the operator.
        """
        verdict = judge_without_store([counter.limit for counter in counters], why)
        shares = [replace(counter, limit=counter.limit.local) for counter in counters if counter.limit.local]
        if isinstance(verdict, OverLimit) or not shares:
            return verdict
        try:
            return judge_share(await self._count(plan, query, shares, merchant), why)
        except (StoreUnavailable, CounterFault) as error:
            return judge_share((), f"{why}; nor can it be counted here: {error}")

    async def _count(
        self, plan: Plan, query: LimitQuery, shares: Sequence[Counter], merchant: MerchantEntry
    ) -> tuple[QuotaState, ...]:
        unheld = replace(plan, is_held=False)
        for _ in range(2):
            now = self._clock.wall()
            prepared = prepare(unheld, query, shares, merchant, (self._windows, now))
            result = await self._ledger.post(prepared.posting, self._clock.monotonic() + _ALLOWED_SECONDS)
            if result.status is not Status.STALE:  # between two looks at the clock a window may end
                break
        return quota_states(shares, prepared, result, now)


def local_share(limit: Limit, percent: int) -> Limit:
    """Return the limit as one replica has it: its part of the value and of the burst, broken units cut off."""
    value = limit.value * percent // 100
    share = replace(
        limit,
        value=value,
        changes=tuple((since, changed * percent // 100) for since, changed in limit.changes),
        is_held=False,
        warn_at=(),
        told=None,
    )
    if limit.kind is not Kind.RATE:
        return share
    step = -(-limit.step * max(1, limit.value) // max(1, value))
    return replace(share, buckets=limit.buckets * percent // 100, step=step)
