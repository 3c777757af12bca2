"""Counters in one store or two: limits with unit second may have one of their own.

Its law: a refused request may be counted, an accepted one always is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.store_link import StoreUnavailable
from ratelimit.descriptors.tally import Count, Hit, Law, Role, TallyStore
from ratelimit.ledger import CounterFault


@dataclass(frozen=True, slots=True)
class TallyStores:
    """Where counters live.

    Attributes:
        main: For every limit that `per_second` does not take.
        per_second: For limits with unit second; None: `main` takes them too.
    """

    main: TallyStore
    per_second: TallyStore | None = None

    def all(self) -> tuple[TallyStore, ...]:
        """Return the stores there are."""
        return (self.main,) if self.per_second is None else (self.main, self.per_second)

    @property
    def is_available(self) -> bool:
        """Whether every store can be asked."""
        return all(store.is_available for store in self.all())

    async def tally(
        self, hits: Sequence[Hit], second: Sequence[bool], law: Law, deadline: float
    ) -> Sequence[Count | None]:
        """Take the hits of one request.

        Args:
            hits: At least one.
            second: For each hit, whether its limit's unit is second.
            law: How they are taken together.
            deadline: On `Clock.monotonic()`.

        Returns:
            One count a hit; None for those that were not asked about, the request being refused already.

        Raises:
            StoreUnavailable: As `TallyStore.tally`.
            CounterFault: As `TallyStore.tally`.
        """
        if self.per_second is None or not any(second):
            return await self.main.tally(hits, law, deadline)
        if all(second):
            return await self.per_second.tally(hits, law, deadline)
        quick = [hit for hit, is_second in zip(hits, second, strict=True) if is_second]
        slow = [hit for hit, is_second in zip(hits, second, strict=True) if not is_second]
        both = self._all_or_none if law is Law.ALL_OR_NONE else self._each
        of_quick, of_slow = map(iter, await both(self.per_second, quick, slow, (law, deadline)))
        return [next(of_quick if is_second else of_slow) for is_second in second]

    async def _each(
        self, per_second: TallyStore, quick: list[Hit], slow: list[Hit], how: tuple[Law, float]
    ) -> tuple[Sequence[Count | None], Sequence[Count | None]]:
        return await asyncio.gather(per_second.tally(quick, *how), self.main.tally(slow, *how))

    async def _all_or_none(
        self, per_second: TallyStore, quick: list[Hit], slow: list[Hit], how: tuple[Law, float]
    ) -> tuple[Sequence[Count | None], Sequence[Count | None]]:
        """Ask the one for seconds first: what it has charged is given back, or soon gone, should the other refuse."""
        of_quick = (await per_second.tally([*quick, _never_over(quick)], *how))[:-1]
        if not _fit(quick, of_quick):
            return of_quick, [None] * len(slow)
        of_slow = (await self.main.tally([*slow, _never_over(slow)], *how))[:-1]
        if not _fit(slow, of_slow):
            charged = [
                hit._replace(is_given_back=True)
                for hit, count in zip(quick, of_quick, strict=True)
                if count.after > count.found
            ]
            with contextlib.suppress(StoreUnavailable, CounterFault):
                # What stays charged over-counts a window of one second.
                await per_second.tally(charged, *how)
        return of_quick, of_slow


def _never_over(hits: Sequence[Hit]) -> Hit:
    """Return a quota hit that fits and changes nothing: one store cannot know whether all quotas of both are over."""
    return hits[0]._replace(cost=0, is_given_back=True, role=Role.QUOTA)


def _fit(hits: Sequence[Hit], counts: Sequence[Count]) -> bool:
    return not any(hit.role is Role.HARD and count.is_over for hit, count in zip(hits, counts, strict=True))
