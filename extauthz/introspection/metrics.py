"""What a scrape learns about questions to token issuers; registered by `server.build`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from extauthz.introspection.asking import Introspector

_LABELS = ("provider",)


def register_introspection(registry: CollectorRegistry, introspector: Introspector) -> None:
    """Have each scrape count questions; ids of providers are the only label values."""
    registry.register(_IntrospectionCollector(introspector))


class _IntrospectionCollector(Collector):
    def __init__(self, introspector: Introspector) -> None:
        self._introspector = introspector

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        asked = CounterMetricFamily(
            "tollhouse_introspection_questions", "Questions sent to token issuers about tokens.", labels=_LABELS
        )
        failures = CounterMetricFamily(
            "tollhouse_introspection_failures", "Questions that brought no usable answer.", labels=_LABELS
        )
        for provider, number in self._introspector.questions.items():
            asked.add_metric((provider,), number)
            failures.add_metric((provider,), self._introspector.failures[provider])
        yield from (asked, failures)
