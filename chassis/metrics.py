"""Prometheus metrics of a service, with labels from closed sets only.

The servicers call `decision` once per request; everything else happens at reload or in the background.
Its law: no label value comes from a request, so no caller can make the number of series grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER: Final = "other"
"""What an unknown label value counts as."""

NONE: Final = "none"
"""What an empty label value counts as."""

VERDICTS: Final = ("allow", "deny", "unavailable", "within_limit", "over_limit")
STEPS: Final = (
    "receive", "parse", "select", "authenticate", "authorize", "assess", "render",
    "match", "key", "hit", "judge",
)  # fmt: skip
BUCKETS_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip


class ServiceMetrics:
    """The metrics of one service in a registry of their own.

    `decision` and the setters belong to the service's event loop; `records_lost` may be
    called from any thread.
    """

    def __init__(
        self,
        service: str,
        reasons: Iterable[str],
        *,
        verdicts: Iterable[str] = VERDICTS,
        steps: Iterable[str] = STEPS,
    ) -> None:
        """Make the metrics.

        Args:
            service: Value of the `service` label everywhere.
            reasons: Every reason code there is.
            verdicts: Every verdict there is.
            steps: Every step there is.
        """
        self.registry = CollectorRegistry(auto_describe=True)
        self._service = service
        self._reasons = frozenset(reasons)
        self._verdicts = frozenset(verdicts)
        self._steps = frozenset(steps)
        self._decisions = Counter(
            "tollhouse_decisions",
            "Decisions by verdict, reason and the step that decided.",
            ("service", "verdict", "reason", "step"),
            registry=self.registry,
        )
        durations = Histogram(
            "tollhouse_decision_seconds",
            "Time from the call's arrival to its answer.",
            ("service", "verdict"),
            registry=self.registry,
            buckets=BUCKETS_SECONDS,
        )
        self._durations = {name: durations.labels(service, name) for name in (*sorted(self._verdicts), OTHER)}
        # Which of the possible combinations occur is not known beforehand; a thousand series of zeros would
        # be no help. So a child is made at its first use and found by one dictionary look-up afterwards.
        self._children: dict[tuple[str, str, str], Counter] = {}
        self._make_policy_metrics()
        self._records_lost = self._counter("tollhouse_records_lost", "Decision records that could not be written.")

    def _make_policy_metrics(self) -> None:
        self._policy = Gauge(
            "tollhouse_policy_info",
            "1 for the active policy revision.",
            ("service", "revision"),
            registry=self.registry,
        )
        self._policy_loaded = self._gauge("tollhouse_policy_loaded_timestamp_seconds", "When it became active.")
        self._policy_stale = self._gauge("tollhouse_policy_stale", "1 while the policy on disk cannot be loaded.")
        self._reloads = self._counter("tollhouse_policy_reloads", "Reloads that succeeded, the load at start left out.")
        self._revisions: dict[str, str] = {}
        self._stale: set[str] = set()
        self._reload_failures = self._counter("tollhouse_policy_reload_failures", "Policy loads that failed.")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ("service",), registry=self.registry).labels(self._service)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, ("service",), registry=self.registry).labels(self._service)

    def decision(self, verdict: str, reason: str, step: str, seconds: float) -> None:
        """Count one decision that took `seconds`; label values outside the closed sets count as `other`."""
        child = self._children.get((verdict, reason, step))
        if child is None:
            child = self._child(verdict, reason, step)
        child.inc()
        duration = self._durations.get(verdict)
        (self._durations[OTHER] if duration is None else duration).observe(seconds)

    def _child(self, verdict: str, reason: str, step: str) -> Counter:
        # A verdict is a reason too: what is allowed has no reason of its own.
        reasons = self._reasons | self._verdicts
        known = (_closed(verdict, self._verdicts), _closed(reason, reasons), _closed(step, self._steps))
        child = self._children.get(known)
        if child is None:
            child = self._children[known] = self._decisions.labels(self._service, *known)
        return child

    def policy_loaded(self, revision: str, wall_seconds: float, source: str = "policy") -> None:
        """Note that `revision` of a source became active at `wall_seconds` since 1970."""
        if source in self._revisions:
            self._reloads.inc()
        self._revisions[source] = revision
        self._policy.clear()  # one series a source, whatever the number of reloads
        for active in self._revisions.values():
            self._policy.labels(self._service, active).set(1)
        self._policy_loaded.set(wall_seconds)
        self._stale.discard(source)
        self._policy_stale.set(bool(self._stale))

    def policy_reload_failed(self, source: str = "policy") -> None:
        """Note that what is on disk could not be loaded; the last good one goes on."""
        self._stale.add(source)
        self._policy_stale.set(1)
        self._reload_failures.inc()

    def records_lost(self, count: int) -> None:
        """Count lost decision records."""
        self._records_lost.inc(count)

    def watch_store(self, is_up: Callable[[], bool]) -> None:
        """Have each scrape ask whether the counter store answers; a service without one shows no such metric."""
        store_up = self._gauge("tollhouse_store_up", "1 while the counter store answers.")
        store_up.set_function(lambda: float(is_up()))

    def watch_store_doubt(self, is_doubted: Callable[[], bool]) -> None:
        """Have each scrape ask whether the counter store may have forgotten something."""
        doubted = self._gauge("tollhouse_store_doubted", "1 while amounts are not counted: the store may forget.")
        doubted.set_function(lambda: float(is_doubted()))


def _closed(value: str, known: frozenset[str]) -> str:
    if not value:
        return NONE
    return value if value in known else OTHER
