"""The line for descriptors: match, key, hit, judge. Called by the servicer with a parsed request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from policy.descriptors.tree import DescriptorSet, LimitRule
from ratelimit.descriptors.held_over import HeldOver
from ratelimit.descriptors.judge import NO_LIMIT, UNLIMITED_REMAINING, judge, role_of, status_of
from ratelimit.descriptors.match import NOTHING, bounded_key, match, plain_key, typed_key
from ratelimit.descriptors.model import Descriptor, DescriptorAnswer, DescriptorQuery, EngineOptions, Found, Status
from ratelimit.descriptors.statistics import DescriptorStatistics
from ratelimit.descriptors.stores import TallyStores
from ratelimit.descriptors.tally import Count, Hit, Law, Role, WindowPassed
from ratelimit.ledger import MAX_COUNT, CounterFault
from ratelimit.model import OverLimit, WithinLimit
from ratelimit.reasons import Reason

_RETRY_SECONDS: Final = 1
_TOO_MANY_HITS: Final = "more hits than can be counted exactly"
_FAULT: Final = Status(is_over=True)


class StoreFailed(Exception):  # noqa: N818 - what happened, in the words of the setting
    """The store gave no answer, and `on_store_failure: error` says that the call ends with one."""


@dataclass(slots=True)
class _Asked:
    """One descriptor that is counted: its place in the request, its rule and its hit."""

    place: int
    rule: LimitRule
    hit: Hit
    former: Hit | None = None
    """The same under the key that the current one replaces: replicas that know only that one count there."""


@dataclass(slots=True)
class StoreTime:
    """What the store's clock shows: windows are the store's, so that replicas whose clocks differ share them.

    Attributes:
        ahead_seconds: By which it is ahead of ours; 0.0 until the store says otherwise.
    """

    ahead_seconds: float = 0.0

    def learn(self, now_ms: int, clock: Clock) -> None:
        """Take the store's time from an answer."""
        self.ahead_seconds = now_ms / 1000 - clock.wall()


@dataclass(frozen=True, slots=True)
class DescriptorEngine:
    """Counts the descriptors of requests.

    Attributes:
        stores: Where counters live.
        options: How they are counted.
        clock: Wall time chooses the window, monotonic time keeps deadlines.
        statistics: Takes what was counted.
        held_over: Counters known to be over.
        draw: A number in [0, 1), for the life of a counter.
        store_time: By how much the store's clock differs, once the store has said so.
    """

    stores: TallyStores
    options: EngineOptions
    clock: Clock
    statistics: DescriptorStatistics
    held_over: HeldOver
    draw: Callable[[], float] = field(default=lambda: 0.0)
    store_time: StoreTime = field(default_factory=lambda: StoreTime())

    async def decide(self, rules: DescriptorSet, query: DescriptorQuery, deadline: float) -> DescriptorAnswer:
        """Judge one request.

        Args:
            rules: The active set; the same one from first to last step.
            query: With one descriptor at least, of a domain that is not our own.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreFailed: The store gave no answer and the options ask for an error then.
        """
        found = match(rules, query)
        if found is None:
            return self._unknown_domain(query)
        found = tuple(map(_checked, query.descriptors, found))
        self._count_silent(found)
        try:
            now, asked, counts = await self._count(query, found, deadline)
        except (StoreUnavailable, CounterFault) as error:
            return self._without_store(found, str(error))
        if asked and self.clock.monotonic() > deadline:
            # Envoy has stopped listening; what was counted can only over-count.
            return self._without_store(found, "the store answered too late")
        return judge(found, self._statuses(found, asked, counts, now), self.options)

    async def _count(
        self, query: DescriptorQuery, found: Sequence[Found], deadline: float
    ) -> tuple[float, list[_Asked], dict[int, Count | None]]:
        """Take the steps `key` and `hit` in the store's time; return that time, what was asked, and the counts."""
        has_fault = any(each.fault for each in found)
        now, asked = self._asked(query, found)
        try:
            return now, asked, await self._ask(asked, deadline, has_fault=has_fault)
        except WindowPassed as passed:
            self.store_time.learn(passed.now_ms, self.clock)
        # Nothing was counted: once more, in the windows that hold by the store's clock.
        now, asked = self._asked(query, found)
        return now, asked, await self._ask(asked, deadline, has_fault=has_fault)

    def _asked(self, query: DescriptorQuery, found: Sequence[Found]) -> tuple[float, list[_Asked]]:
        now = self.clock.wall() + self.store_time.ahead_seconds
        return now, [
            _Asked(place, each.limit, *self._hits(query, place, each, now))
            for place, each in enumerate(found)
            if each.limit is not None and not each.limit.is_unlimited and not each.fault
        ]

    def _unknown_domain(self, query: DescriptorQuery) -> DescriptorAnswer:
        self.statistics.event("unknown_domain")
        if not self.options.allows_unknown_domain:
            return DescriptorAnswer(OverLimit(Reason.DOMAIN_UNKNOWN))
        count = len(query.descriptors)
        return DescriptorAnswer(WithinLimit(), (NO_LIMIT,) * count, (NOTHING,) * count)

    def _hits(self, query: DescriptorQuery, place: int, found: Found, now: float) -> tuple[Hit, ...]:
        """Step `key`, and what is added: each descriptor's own hits, else the request's, at least one.

        Returns:
            The hit on its counter, and during a rotation of keys the one on its counter under the former key.
        """
        descriptor, limit = query.descriptors[place], found.limit
        if limit is None or limit.unit is None:
            raise ValueError("what has no window has no counter")
        seconds = limit.window_seconds
        start = int(now) // seconds * seconds
        keys = [
            bounded_key(plain_key(query.domain, found.path, start), secret)
            if self.options.is_compat
            else typed_key(query.domain, found.path, limit.unit, start, secret)
            for secret in self.options.secrets
        ]
        hit = Hit(
            self.options.key_prefix + keys[0],
            limit.requests_per_unit,
            max(query.hits, 1) if descriptor.hits is None else descriptor.hits,
            descriptor.is_given_back,
            seconds + int(self.draw() * self.options.jitter_seconds),
            role_of(limit, self.options),
            (start * 1000, (start + seconds) * 1000) if self.options.windows_by_store else (0, 0),
        )
        return (hit, *(hit._replace(key=self.options.key_prefix + key) for key in keys[1:]))

    def _count_silent(self, found: Sequence[Found]) -> None:
        for each in found:
            if each.fault:
                self.statistics.event("fault")
            elif each.limit is None:
                self.statistics.event("unmatched")

    async def _ask(self, asked: Sequence[_Asked], deadline: float, *, has_fault: bool) -> dict[int, Count | None]:
        """Step `hit`: return the count of each place, None for what is known to be over without the store."""
        counts: dict[int, Count | None] = {}
        rest = asked
        if self.held_over.is_used:
            rest = self._take_held(asked, counts)
        if not self.options.is_compat:
            is_refused = has_fault and not self.options.is_shadow
            if is_refused or _has_hard(asked, counts):
                # Refused already, so that nothing is charged and nothing needs to be asked.
                return counts
        if rest:
            for each, count in zip(rest, await self._tally(rest, deadline), strict=True):
                if count is None:
                    continue
                counts[each.place] = count
                self.statistics.counted(each.rule, each.hit, count)
                if count.is_over and self._may_be_held(each.hit):
                    self.held_over.add(each.hit, count.after, self.clock.monotonic())
        return counts

    def _take_held(self, asked: Sequence[_Asked], counts: dict[int, Count | None]) -> list[_Asked]:
        """Note which hits are known to be over; return the others."""
        now = self.clock.monotonic()
        rest = []
        for each in asked:
            if self._may_be_held(each.hit) and self.held_over.holds(each.hit, now):
                counts[each.place] = None
                self.statistics.held_over(each.rule, each.hit.cost)
            else:
                rest.append(each)
        return rest

    def _may_be_held(self, hit: Hit) -> bool:
        # By default a quota's hits are written down also when they do not fit, and only the store can do that.
        return self.options.is_compat or hit.role is not Role.QUOTA

    async def _tally(self, asked: Sequence[_Asked], deadline: float) -> Sequence[Count | None]:
        law = Law.ALL_OR_NONE
        if self.options.is_compat:
            law = Law.EACH_OVER if self.options.stops_when_over else Law.EACH
        former = [each for each in asked if each.former is not None]
        hits = [*(each.hit for each in asked), *(each.former for each in former if each.former is not None)]
        seconds = [each.rule.unit == "second" for each in (*asked, *former)]
        counts = await self.stores.tally(hits, seconds, law, deadline)
        return counts if not former else _merged(asked, counts)

    def _statuses(
        self, found: Sequence[Found], asked: Sequence[_Asked], counts: dict[int, Count | None], now: float
    ) -> list[Status]:
        statuses = [_unasked_status(each) for each in found]
        for each in asked:
            if each.place in counts:
                statuses[each.place] = status_of(
                    each.rule, counts[each.place], now, is_given_back=each.hit.is_given_back
                )
        return statuses

    def _without_store(self, found: Sequence[Found], detail: str) -> DescriptorAnswer:
        self.statistics.event("store_failure")
        if self.options.on_store_failure == "error":
            raise StoreFailed(detail)
        if self.options.on_store_failure == "allow" and not any(each.fault for each in found):
            statuses = tuple(_unasked_status(each) for each in found)
            return DescriptorAnswer(WithinLimit(is_without_store=True), statuses, tuple(found))
        return DescriptorAnswer(OverLimit(Reason.STORE_UNAVAILABLE, retry_after_seconds=_RETRY_SECONDS, detail=detail))


def _merged(asked: Sequence[_Asked], counts: Sequence[Count | None]) -> list[Count | None]:
    """Return one count a hit: of a counter that stands under two keys the fuller one, over when either is."""
    of_former = iter(counts[len(asked) :])
    merged: list[Count | None] = []
    for each, count in zip(asked, counts, strict=False):
        other = next(of_former) if each.former is not None else None
        if count is None or other is None:
            merged.append(count if each.former is None else None)
            continue
        fuller = max(count, other, key=lambda found: found.after)
        merged.append(fuller._replace(is_over=count.is_over or other.is_over))
    return merged


def _has_hard(asked: Sequence[_Asked], held: dict[int, Count | None]) -> bool:
    return bool(held) and any(each.place in held and each.hit.role is Role.HARD for each in asked)


def _checked(descriptor: Descriptor, found: Found) -> Found:
    """Refuse a number of hits that no store counts exactly: it would poison the counter for its whole window."""
    if descriptor.hits is None or descriptor.hits <= MAX_COUNT or found.limit is None or found.limit.is_unlimited:
        return found
    return Found(fault=_TOO_MANY_HITS)


def _unasked_status(found: Found) -> Status:
    if found.fault:
        return _FAULT
    if found.limit is not None and found.limit.is_unlimited:
        return Status(remaining=UNLIMITED_REMAINING)
    return NO_LIMIT
