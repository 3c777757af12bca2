"""Counters of descriptors in this process: for tests, and for one lone process without a store.

Its law: a live counter is never forgotten to make room; full is unavailable.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability
from ratelimit.descriptors.tally import Count, Hit, Law, Role, check_hits
from ratelimit.ledger import MAX_COUNT

_IsAdded = Callable[[Hit, bool], bool]


@dataclass(slots=True)
class _Counter:
    count: int
    expires_at: float


class MemoryTally:
    """A `TallyStore` without a store; counters end with the process.

    Args:
        clock: `monotonic()` decides when a counter has expired.
        max_keys: Most counters kept at once. A request that needs more is refused as unavailable.
    """

    def __init__(self, clock: Clock, *, max_keys: int = 1_000_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._counters: dict[str, _Counter] = {}
        # One entry per counter, at an expiry it had once; a counter written since goes back in.
        self._expiries: list[tuple[float, str]] = []

    async def start(self) -> None:
        """Do nothing: there is no background work."""

    async def stop(self) -> None:
        """Do nothing: there is no background work."""

    @property
    def is_available(self) -> bool:
        """Always true; a full store says so request by request."""
        return True

    async def tally(self, hits: Sequence[Hit], law: Law, deadline: float) -> tuple[Count, ...]:
        """Take the hits of one request; see `TallyStore.tally`."""
        check_hits(hits)
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        self._forget_expired(now)
        counts = _judge(hits, law, self._count)
        written = {
            hit.key: (count.after, now + hit.life_seconds)
            for hit, count in zip(hits, counts, strict=True)
            if count.after != count.found
        }
        if len(self._counters) + sum(key not in self._counters for key in written) > self._max_keys:
            raise StoreUnavailable(Unavailability.FULL)
        for key, (count, expires_at) in written.items():
            if key not in self._counters:
                heapq.heappush(self._expiries, (expires_at, key))
            self._counters[key] = _Counter(count, expires_at)
        return counts

    def _count(self, key: str) -> int:
        counter = self._counters.get(key)
        return 0 if counter is None else counter.count

    def counts(self) -> dict[str, int]:
        """Return every live counter; for tests and people who look."""
        now = self._clock.monotonic()
        return {key: counter.count for key, counter in self._counters.items() if counter.expires_at > now}

    def _forget_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, key = self._expiries[0]
            counter = self._counters[key]
            if counter.expires_at > now:
                heapq.heapreplace(self._expiries, (counter.expires_at, key))
            else:
                heapq.heappop(self._expiries)
                del self._counters[key]


def _judge(hits: Sequence[Hit], law: Law, count: Callable[[str], int]) -> tuple[Count, ...]:
    """Work out what becomes of the hits; the same decisions as in tally.lua, in the same order."""

    def walk(is_added: _IsAdded) -> list[Count]:
        return _walk(hits, law, count, is_added)

    if law is Law.EACH_OVER and any(each.is_over for each in walk(lambda *_: True)):
        return tuple(walk(lambda _, is_over: is_over))
    if law is not Law.ALL_OR_NONE:
        return tuple(walk(lambda *_: True))
    counts = walk(lambda hit, is_over: not is_over or hit.role is Role.QUOTA)
    over = {role: [c.is_over for hit, c in zip(hits, counts, strict=True) if hit.role is role] for role in Role}
    if any(over[Role.HARD]):
        return _still_over(counts, walk(lambda *_: False))
    if over[Role.QUOTA] and all(over[Role.QUOTA]):
        return _still_over(counts, walk(lambda hit, _: hit.role is Role.QUOTA))
    return tuple(counts)


def _walk(hits: Sequence[Hit], law: Law, count: Callable[[str], int], is_added: _IsAdded) -> list[Count]:
    here: dict[str, int] = {}
    counts: list[Count] = []
    for hit in hits:
        found = here.get(hit.key)
        found = count(hit.key) if found is None else found
        is_over = not _fits(hit, found, law)
        after = _added(hit, found) if is_added(hit, is_over) else found
        here[hit.key] = after
        counts.append(Count(found, after, is_over))
    return counts


def _fits(hit: Hit, found: int, law: Law) -> bool:
    if hit.is_given_back:
        return True
    if law is Law.ALL_OR_NONE and hit.cost == 0:
        return found < hit.limit
    return found + hit.cost <= hit.limit


def _added(hit: Hit, found: int) -> int:
    return max(found - hit.cost, 0) if hit.is_given_back else min(found + hit.cost, MAX_COUNT)


def _still_over(judged: Sequence[Count], counts: Sequence[Count]) -> tuple[Count, ...]:
    """Keep over what was judged so, although less was added: that is what the request was refused for."""
    return tuple(count._replace(is_over=old.is_over) for old, count in zip(judged, counts, strict=True))
