"""Counters in this process: for tests, and for one lone ratelimit process without a store.

Its law: a live counter is never forgotten to make room; full is unavailable.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability
from ratelimit.counters import Charge, HitResult, Reading, check_charges


@dataclass(slots=True)
class _Counter:
    used: int
    expires_at: float


class MemoryCounters:
    """A `CounterStore` without a store; counters end with the process.

    Args:
        clock: `monotonic()` decides when a counter has expired.
        max_keys: Most counters kept at once. A hit that needs more is refused as unavailable.
    """

    def __init__(self, clock: Clock, *, max_keys: int = 1_000_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._counters: dict[str, _Counter] = {}
        # One entry per counter, at an expiry it had once; a counter charged since goes back in.
        self._expiries: list[tuple[float, str]] = []

    async def start(self) -> None:
        """Do nothing: there is no background work."""

    async def stop(self) -> None:
        """Do nothing: there is no background work."""

    @property
    def is_available(self) -> bool:
        """Always true; a full store says so hit by hit."""
        return True

    def doubt_about(self, key: str) -> str:
        """Return nothing: nobody else can empty it, and whoever chose it knows that it ends with the process."""
        return ""

    @property
    def is_doubted(self) -> bool:
        """Never, as `doubt_about` says."""
        return False

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know."""
        return ("counters live in this process alone and end with it",)

    async def hit(self, charges: Sequence[Charge], deadline: float) -> HitResult:
        """Check all charges, then add all or none; see `CounterStore.hit`."""
        check_charges(charges)
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        self._forget_expired(now)
        found = [self._used(charge.key, now) for charge in charges]
        is_over = [used + charge.cost > charge.limit for used, charge in zip(found, charges, strict=True)]
        if any(over and not charge.is_shadow for over, charge in zip(is_over, charges, strict=True)):
            return HitResult(False, tuple(map(Reading, found, is_over)))
        added = [0 if over else charge.cost for over, charge in zip(is_over, charges, strict=True)]
        self._make_sure_of_room(charges, added)
        for charge, cost in zip(charges, added, strict=True):
            if cost:
                self._add(charge, cost, now)
        return HitResult(
            True,
            tuple(Reading(used + cost, over) for used, cost, over in zip(found, added, is_over, strict=True)),
        )

    def _used(self, key: str, now: float) -> int:
        counter = self._counters.get(key)
        return 0 if counter is None or counter.expires_at <= now else counter.used

    def _make_sure_of_room(self, charges: Sequence[Charge], added: Sequence[int]) -> None:
        new = sum(1 for charge, cost in zip(charges, added, strict=True) if cost and charge.key not in self._counters)
        if len(self._counters) + new > self._max_keys:
            raise StoreUnavailable(Unavailability.FULL)

    def _add(self, charge: Charge, cost: int, now: float) -> None:
        used = self._used(charge.key, now) + cost
        expires_at = now + charge.expires_in_seconds
        if charge.key not in self._counters:
            heapq.heappush(self._expiries, (expires_at, charge.key))
        self._counters[charge.key] = _Counter(used, expires_at)

    def _forget_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, key = self._expiries[0]
            counter = self._counters[key]
            if counter.expires_at > now:
                heapq.heapreplace(self._expiries, (counter.expires_at, key))
            else:
                heapq.heappop(self._expiries)
                del self._counters[key]
