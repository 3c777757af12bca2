"""What is counted about descriptors: hits by rule and outcome. No label comes from a request.

Every request counts here, so plain numbers are added up and shown when somebody asks for the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

from policy.descriptors.tree import LimitRule
from ratelimit.descriptors.tally import Count, Hit

MAX_RULES: Final = 10_000
"""Rules with series of their own; what comes after counts as `other`."""

OTHER: Final = "other"
OUTCOMES: Final = ("total", "over", "near", "within", "over_local", "shadow", "given_back")
_TOTAL, _OVER, _NEAR, _WITHIN, _OVER_LOCAL, _SHADOW, _GIVEN_BACK = range(len(OUTCOMES))


class DescriptorStatistics:
    """Counts hits by rule; the meaning of each outcome is envoyproxy/ratelimit's. Belongs to one event loop.

    Args:
        registry: Where the series are shown.
        near_ratio: Share of a limit from which hits count as near it.
    """

    def __init__(self, registry: CollectorRegistry, near_ratio: float) -> None:
        self._near_ratio = near_ratio
        self._hits: dict[str, list[int]] = {}
        self._events: dict[str, int] = {}
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Show everything counted so far."""
        hits = CounterMetricFamily(
            "tollhouse_descriptor_hits",
            "Hits by rule and outcome; over and near count the hits beyond the limit and beyond its near share.",
            labels=("rule", "outcome"),
        )
        for rule, counts in list(self._hits.items()):
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                if count:
                    hits.add_metric((rule, outcome), count)
        yield hits
        events = CounterMetricFamily(
            "tollhouse_descriptor_requests",
            "Descriptors that no limit held for, and requests that were not counted, by what happened.",
            labels=("event",),
        )
        for event, count in list(self._events.items()):
            events.add_metric((event,), count)
        yield events

    def event(self, name: str) -> None:
        """Count `unmatched`, `unknown_domain`, `fault` or `store_failure`."""
        self._events[name] = self._events.get(name, 0) + 1

    def counted(self, rule: LimitRule, hit: Hit, count: Count) -> None:
        """Count the hits that the store has judged."""
        counts = self._hits.get(rule.id) or self._new(rule.id)
        cost, found = hit.cost, count.found
        if hit.is_given_back:
            counts[_GIVEN_BACK] += cost
            return
        counts[_TOTAL] += cost
        near_from = int(hit.limit * self._near_ratio)
        if not count.is_over:
            counts[_WITHIN] += cost
            if found + cost > near_from:
                counts[_NEAR] += min(cost, found + cost - near_from)
        elif found >= hit.limit:
            self._over(counts, rule, cost)
        else:
            self._over(counts, rule, found + cost - hit.limit)
            counts[_NEAR] += hit.limit - max(near_from, found)

    def held_over(self, rule: LimitRule, cost: int) -> None:
        """Count hits that were refused without asking the store."""
        counts = self._hits.get(rule.id) or self._new(rule.id)
        counts[_TOTAL] += cost
        counts[_OVER_LOCAL] += cost
        self._over(counts, rule, cost)

    def read(self, rule_id: str) -> dict[str, int]:
        """Return the counts of a rule by outcome."""
        return dict(zip(OUTCOMES, self._hits.get(rule_id, [0] * len(OUTCOMES)), strict=True))

    def _over(self, counts: list[int], rule: LimitRule, cost: int) -> None:
        counts[_OVER] += cost
        if rule.is_shadow:
            counts[_SHADOW] += cost

    def _new(self, rule_id: str) -> list[int]:
        name = rule_id if len(self._hits) < MAX_RULES else OTHER
        return self._hits.setdefault(name, [0] * len(OUTCOMES))
