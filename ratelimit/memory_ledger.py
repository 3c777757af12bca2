"""A ledger in this process: for tests, policy tests, and one lone ratelimit process without a store.

It does by reading what charge.lua and settle.lua do in the store, and passes the same suite. Its law: nothing that is
alive is forgotten to make room; full is unavailable.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability
from ratelimit.ledger import (
    MAX_COUNT,
    CounterFault,
    Entry,
    Hold,
    Kind,
    Outcome,
    Posting,
    PostResult,
    Reading,
    Settled,
    Settlement,
    Status,
    check_posting,
)


@dataclass(slots=True)
class _Counter:
    """One key: a number for WINDOW and RATE, sums by bucket for SLIDING, scores by member for the others."""

    kind: Kind
    expires_at: float
    value: int = 0
    sums: dict[int, int] = field(default_factory=dict)
    members: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """What one posting added: its counter and, for SLIDING, the bucket."""

    key: str
    bucket: int
    cost: int


@dataclass(slots=True)
class _Open:
    """One hold, or a repeat that joined one (`main`)."""

    about: str
    expires_at: float
    main: str
    leases: list[str]
    held: list[_Held] = field(default_factory=list)
    identity: str = ""
    is_held: bool = True
    participants: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    digest: str
    main: str
    expires_at: float


class MemoryLedger:
    """A `Ledger` without a store; everything ends with the process.

    Args:
        clock: `wall()` is what postings are judged by, `monotonic()` what deadlines are measured on.
        max_keys: Most keys kept at once. A posting that needs more is refused as unavailable.
    """

    def __init__(self, clock: Clock, *, max_keys: int = 1_000_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._counters: dict[str, _Counter] = {}
        self._holds: dict[str, _Open] = {}
        self._identities: dict[str, _Known] = {}
        # One entry a key, at an end it had once; what lives longer goes back in.
        self._ends: list[tuple[float, str]] = []

    async def start(self) -> None:
        """Do nothing: there is no background work."""

    async def stop(self) -> None:
        """Do nothing: there is no background work."""

    @property
    def is_available(self) -> bool:
        """Always true; a full ledger says so posting by posting."""
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

    async def post(self, posting: Posting, deadline: float) -> PostResult:
        """Judge all entries, then add all or none; see `Ledger.post`."""
        check_posting(posting)
        if self._clock.monotonic() >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        now = self._clock.wall()
        self._forget(now)
        now_ms = math.floor(now * 1000)
        if posting.valid_until_ms and not posting.valid_from_ms <= now_ms < posting.valid_until_ms:
            return PostResult(Status.STALE, now_ms=now_ms)
        known = self._known(posting.hold)
        if known is not None and known.digest != _digest(posting.hold):
            return PostResult(Status.MISMATCH)
        return self._judge(posting, known, now)

    async def settle(self, settlement: Settlement, deadline: float) -> Settled:
        """Write the outcome of a held posting; see `Ledger.settle`."""
        if self._clock.monotonic() >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        self._forget(self._clock.wall())
        record = self._holds.get(settlement.key)
        if record is None:
            return Settled.UNKNOWN
        if record.about != settlement.about:
            return Settled.OTHERWISE
        if settlement.outcome is not Outcome.IN_DOUBT:
            self._end_leases(record, settlement.decision_id)
        main_key = record.main or settlement.key
        main = self._holds.get(main_key)
        if main is None or not main.is_held or main.participants.get(settlement.decision_id) != "open":
            return Settled.UNKNOWN
        if settlement.outcome is not Outcome.RELEASED:
            main.is_held = False
            main.participants[settlement.decision_id] = "spent"
            return Settled.DONE
        main.participants[settlement.decision_id] = "released"
        return self._release(main, main_key)

    def _judge(self, posting: Posting, known: _Known | None, now: float) -> PostResult:
        views = [_VIEWS[entry.kind](self._counter(entry), entry, now) for entry in posting.entries]
        skipped = [known is not None and entry.is_once for entry in posting.entries]
        over = [view[1] and not skip for view, skip in zip(views, skipped, strict=True)]
        status = Status.CHARGED if known is None else Status.REPEATED
        if any(is_over and not entry.is_shadow for is_over, entry in zip(over, posting.entries, strict=True)):
            status = Status.OVER
        added = [
            entry
            for entry, is_over, skip in zip(posting.entries, over, skipped, strict=True)
            if status is not Status.OVER and not is_over and not skip and entry.cost > 0
        ]
        self._make_sure_of_room(posting, added)
        for entry in added:
            self._add(entry, now)
        if posting.hold is not None and status is not Status.OVER:
            self._open(posting.hold, known, added, now)
        changed = {entry.key for entry in added}
        used = [
            _VIEWS[entry.kind](self._counter(entry), entry, now)[0] if entry.key in changed else view[0]
            for entry, view in zip(posting.entries, views, strict=True)
        ]
        waits = tuple(max(0, view[2]) if is_over else 0 for view, is_over in zip(views, over, strict=True))
        return PostResult(status, tuple(map(Reading, used, over)), waits)

    def _counter(self, entry: Entry) -> _Counter:
        counter = self._counters.get(entry.key)
        if counter is None:
            return _Counter(entry.kind, 0.0)
        if counter.kind is not entry.kind:
            raise CounterFault("a key holds no counter")
        return counter

    def _add(self, entry: Entry, now: float) -> None:
        counter = self._counter(entry)
        _ADDERS[entry.kind](counter, entry, now)
        counter.expires_at = now + entry.expires_in_seconds
        if entry.key not in self._counters:
            heapq.heappush(self._ends, (counter.expires_at, entry.key))
            self._counters[entry.key] = counter

    def _make_sure_of_room(self, posting: Posting, added: list[Entry]) -> None:
        new = sum(1 for entry in added if entry.key not in self._counters) + (posting.hold is not None) * 2
        if len(self._counters) + len(self._holds) + len(self._identities) + new > self._max_keys:
            raise StoreUnavailable(Unavailability.FULL)

    def _known(self, hold: Hold | None) -> _Known | None:
        if hold is not None and hold.key in self._holds:
            raise CounterFault("a key holds no counter")
        return None if hold is None or hold.identity is None else self._identities.get(hold.identity.key)

    def _open(self, hold: Hold, known: _Known | None, added: list[Entry], now: float) -> None:
        leases = [entry.key for entry in added if entry.kind is Kind.LEASE]
        record = _Open(hold.about, now + hold.seconds, "", leases)
        self._holds[hold.key] = record
        heapq.heappush(self._ends, (record.expires_at, hold.key))
        if known is not None:
            record.main = known.main
            main = self._holds.get(known.main)
            if main is not None and main.is_held:
                main.participants[hold.decision_id] = "open"
            return
        record.participants[hold.decision_id] = "open"
        record.held = [_Held(entry.key, _bucket(entry, now), entry.cost) for entry in added if entry.is_held]
        if hold.identity is not None:
            record.identity = hold.identity.key
            ends = now + hold.identity.seconds
            self._identities[hold.identity.key] = _Known(hold.identity.digest, hold.key, ends)
            heapq.heappush(self._ends, (ends, hold.identity.key))

    def _release(self, main: _Open, main_key: str) -> Settled:
        if any(state != "released" for state in main.participants.values()):
            return Settled.WAITS
        for held in main.held:
            counter = self._counters.get(held.key)
            if counter is not None and counter.kind is Kind.WINDOW:
                counter.value = max(0, counter.value - held.cost)
            elif counter is not None and held.bucket in counter.sums:
                counter.sums[held.bucket] = max(0, counter.sums[held.bucket] - held.cost)
        main.is_held = False
        known = self._identities.get(main.identity)
        if known is not None and known.main == main_key:
            del self._identities[main.identity]
        return Settled.DONE

    def _end_leases(self, record: _Open, decision_id: str) -> None:
        for key in record.leases:
            counter = self._counters.get(key)
            if counter is not None:
                counter.members.pop(decision_id, None)
        record.leases = []

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            for table in (self._counters, self._holds, self._identities):
                kept = table.get(key)
                if kept is None:
                    continue
                if kept.expires_at <= now:
                    del table[key]
                else:
                    heapq.heappush(self._ends, (kept.expires_at, key))


View = tuple[int, bool, int]
"""What is used, whether the entry is over, and milliseconds until it might fit."""


def _digest(hold: Hold | None) -> str:
    return "" if hold is None or hold.identity is None else hold.identity.digest


def _bucket(entry: Entry, now: float) -> int:
    return math.floor(now * 1000) // entry.step if entry.kind is Kind.SLIDING else 0


def _window_view(counter: _Counter, entry: Entry, _now: float) -> View:
    return counter.value, counter.value + entry.cost > entry.limit, 0


def _sliding_view(counter: _Counter, entry: Entry, now: float) -> View:
    oldest = _bucket(entry, now) - entry.buckets
    alive = {bucket: total for bucket, total in counter.sums.items() if bucket >= oldest and total > 0}
    used = min(sum(alive.values()), MAX_COUNT)
    wait = (min(alive) + entry.buckets + 1) * entry.step - math.floor(now * 1000) if alive else 0
    return used, used + entry.cost > entry.limit, wait


def _rate_view(counter: _Counter, entry: Entry, now: float) -> View:
    now_us = math.floor(now * 1_000_000)
    ahead = max(counter.value, now_us) - now_us
    free_at = ahead + (entry.cost - entry.limit) * entry.step
    return -(-ahead // entry.step), free_at > 0, max(0, -(-free_at // 1000))


def _alive_members(counter: _Counter, entry: Entry, now: float) -> dict[str, float]:
    now_ms = math.floor(now * 1000)
    after = now_ms if entry.kind is Kind.LEASE else now_ms - entry.step if entry.step else -1
    return {member: score for member, score in counter.members.items() if score > after}


def _members_view(counter: _Counter, entry: Entry, now: float) -> View:
    alive = _alive_members(counter, entry, now)
    cost = 0 if entry.member in alive else entry.cost
    return len(alive), len(alive) + cost > entry.limit, 0


def _add_window(counter: _Counter, entry: Entry, _now: float) -> None:
    counter.value += entry.cost


def _add_sliding(counter: _Counter, entry: Entry, now: float) -> None:
    current = _bucket(entry, now)
    counter.sums[current] = counter.sums.get(current, 0) + entry.cost
    counter.sums = {bucket: total for bucket, total in counter.sums.items() if bucket >= current - entry.buckets}


def _add_rate(counter: _Counter, entry: Entry, now: float) -> None:
    counter.value = max(counter.value, math.floor(now * 1_000_000)) + entry.cost * entry.step


def _add_member(counter: _Counter, entry: Entry, now: float) -> None:
    counter.members = _alive_members(counter, entry, now)
    now_ms = math.floor(now * 1000)
    counter.members[entry.member] = now_ms + entry.step if entry.kind is Kind.LEASE else now_ms


_VIEWS: Final[dict[Kind, Callable[[_Counter, Entry, float], View]]] = {
    Kind.WINDOW: _window_view,
    Kind.SLIDING: _sliding_view,
    Kind.RATE: _rate_view,
    Kind.DISTINCT: _members_view,
    Kind.LEASE: _members_view,
}
_ADDERS: Final[dict[Kind, Callable[[_Counter, Entry, float], None]]] = {
    Kind.WINDOW: _add_window,
    Kind.SLIDING: _add_sliding,
    Kind.RATE: _add_rate,
    Kind.DISTINCT: _add_member,
    Kind.LEASE: _add_member,
}
