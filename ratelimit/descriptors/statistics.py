"""What is counted about descriptors: hits by rule and outcome. No label comes from a request."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from policy.descriptors.tree import LimitRule
from ratelimit.descriptors.tally import Count, Hit

MAX_RULES: Final = 10_000
"""Rules with series of their own; what comes after counts as `other`."""

OTHER: Final = "other"
OUTCOMES: Final = ("total", "over", "near", "within", "over_local", "shadow", "given_back")


class DescriptorStatistics:
    """Counts hits by rule; the meaning of each outcome is envoyproxy/ratelimit's.

    Args:
        registry: Where the series are shown.
        near_ratio: Share of a limit from which hits count as near it.
    """

    def __init__(self, registry: CollectorRegistry, near_ratio: float) -> None:
        self._near_ratio = near_ratio
        self._hits = Counter(
            "tollhouse_descriptor_hits",
            "Hits by rule and outcome; over and near count the hits beyond the limit and beyond its near share.",
            ("rule", "outcome"),
            registry=registry,
        )
        self._events = Counter(
            "tollhouse_descriptor_requests",
            "Descriptors that no limit held for, and requests of an unknown domain, by what happened.",
            ("event",),
            registry=registry,
        )
        self._children: dict[tuple[str, str], Counter] = {}
        self._rules: set[str] = set()

    def event(self, name: str) -> None:
        """Count `unmatched`, `unknown_domain`, `fault` or `store_failure`."""
        self._events.labels(name).inc()

    def counted(self, rule: LimitRule, hit: Hit, count: Count) -> None:
        """Count the hits that the store has judged."""
        if hit.is_given_back:
            self._add(rule, "given_back", hit.cost)
            return
        self._add(rule, "total", hit.cost)
        near_from = int(hit.limit * self._near_ratio)
        after = count.found + hit.cost
        if count.is_over:
            over = hit.cost if count.found >= hit.limit else after - hit.limit
            self._over(rule, over)
            if count.found < hit.limit:
                self._add(rule, "near", hit.limit - max(near_from, count.found))
            return
        self._add(rule, "near", min(hit.cost, max(after - near_from, 0)))
        self._add(rule, "within", hit.cost)

    def held_over(self, rule: LimitRule, cost: int) -> None:
        """Count hits that were refused without asking the store."""
        self._add(rule, "total", cost)
        self._add(rule, "over_local", cost)
        self._over(rule, cost)

    def read(self, rule_id: str) -> dict[str, int]:
        """Return the counts of a rule, those that are not 0."""
        known = {outcome: self._children.get((rule_id, outcome)) for outcome in OUTCOMES}
        return {outcome: int(child._value.get()) for outcome, child in known.items() if child is not None}

    def _over(self, rule: LimitRule, cost: int) -> None:
        self._add(rule, "over", cost)
        if rule.is_shadow:
            self._add(rule, "shadow", cost)

    def _add(self, rule: LimitRule, outcome: str, cost: int) -> None:
        if cost <= 0:
            return
        child = self._children.get((rule.id, outcome))
        (self._child(rule.id, outcome) if child is None else child).inc(cost)

    def _child(self, rule_id: str, outcome: str) -> Counter:
        if rule_id not in self._rules and len(self._rules) >= MAX_RULES:
            return self._hits.labels(OTHER, outcome)
        self._rules.add(rule_id)
        child = self._children[(rule_id, outcome)] = self._hits.labels(rule_id, outcome)
        return child
