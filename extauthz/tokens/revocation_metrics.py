"""What a scrape learns about revoked tokens; registered by `server.build`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extauthz.tokens.revocation_feed import RevocationFeed


def register_revocations(registry: CollectorRegistry, feed: RevocationFeed) -> None:
    """Have each scrape look at the list, while policy asks for it."""
    registry.register(_RevocationCollector(feed))


class _RevocationCollector(Collector):
    def __init__(self, feed: RevocationFeed) -> None:
        self._feed = feed

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        if not self._feed.is_needed:
            return
        yield GaugeMetricFamily(
            "tollhouse_revocation_entries", "Entries in force in this replica.", value=float(self._feed.entries)
        )
        yield GaugeMetricFamily(
            "tollhouse_revocation_staleness_seconds",
            "How long ago the store was asked for what is known; +Inf before the first answer.",
            value=self._feed.staleness_seconds(),
        )
        yield CounterMetricFamily(
            "tollhouse_revocation_store_losses",
            "How often the store had lost entries that were known here, and were written back.",
            value=float(self._feed.losses),
        )
