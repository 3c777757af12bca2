"""Warn levels of quotas: an event and a count when a payment takes a counter across one; never a refusal.

Called by `recording` with every verdict. A level is crossed once in a window, by the one payment that the store's own
count says it was, whichever replica it came to. What refills all the time, a rate or a sliding span, may cross it again
and again: of a merchant, quota and level one event a minute is enough.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

from chassis.clock import Clock
from ratelimit.ledger import Entry, PostResult, Status
from ratelimit.model import QuotaState
from ratelimit.tables import Limit

QUIET_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 10_000
MAX_SERIES: Final = 5_000
"""Quotas and levels with series of their own; what comes after, over many reloads, counts as `other`."""
_OTHER: Final = ("other", 0)

log = logging.getLogger("ratelimit")


def crossed_levels(limit: Limit, entry: Entry, value: int, used: int) -> tuple[int, ...]:
    """Return the warn levels, per cent, that lie between what was used before a charge and after it.

    Args:
        limit: With its levels.
        entry: What was charged.
        value: The limit's value of the moment.
        used: After the charge.
    """
    before = used - entry.cost
    return tuple(level for level in limit.warn_at if before * 100 < level * value <= used * 100)


def is_charged(limit: Limit, result: PostResult, *, is_over: bool) -> bool:
    """Tell whether a posting has added to a limit's counter."""
    if result.status is Status.REPEATED:
        return not limit.is_once and not is_over
    return result.status is Status.CHARGED and not is_over


class QuotaWarnings:
    """Logs and counts crossed levels. Belongs to one event loop.

    Args:
        registry: Where the counts are shown.
        clock: `monotonic()` spaces the events.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, str, int], float] = {}
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Show every level that was crossed since the start."""
        family = CounterMetricFamily(
            "tollhouse_quota_warnings",
            "Warn levels (per cent of the value) that a merchant's usage crossed, at most one a minute and merchant.",
            labels=("quota", "level"),
        )
        for (quota, level), count in list(self._counts.items()):
            family.add_metric((quota, str(level)), count)
        yield family

    def note(self, merchant_id: str, states: Sequence[QuotaState]) -> None:
        """Log and count what one payment of a merchant has crossed."""
        for state in states:
            for level in state.crossed:
                if self._is_news((merchant_id, state.quota, level)):
                    self._count((state.quota, level))
                    log.warning("quota_warning: %s of %s has reached %d %%", state.quota, merchant_id, level)

    def _is_news(self, key: tuple[str, str, int]) -> bool:
        now = self._clock.monotonic()
        told = self._told.pop(key, None)
        if told is not None and now - told < QUIET_SECONDS:
            self._told[key] = told
            return False
        if len(self._told) >= MAX_REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[key] = now
        return True

    def _count(self, key: tuple[str, int]) -> None:
        known = key if key in self._counts or len(self._counts) < MAX_SERIES else _OTHER
        self._counts[known] = self._counts.get(known, 0) + 1
