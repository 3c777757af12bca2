"""What a scrape learns about the certificates of a service's listener; registered by `host.ServiceHost`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.tls_files import TlsWatch


def register_tls(registry: CollectorRegistry, watch: TlsWatch) -> None:
    """Have each scrape look at the certificates in use."""
    registry.register(_TlsCollector(watch))


class _TlsCollector(Collector):
    def __init__(self, watch: TlsWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        watch = self._watch
        yield GaugeMetricFamily(
            "tollhouse_tls_certificate_expiry_seconds",
            "Seconds until the certificate in use expires; negative afterwards.",
            value=watch.seconds_left(),
        )
        yield GaugeMetricFamily(
            "tollhouse_tls_stale",
            "1 while the TLS files on disk cannot be served with and the last good ones serve on.",
            value=float(bool(watch.problem)),
        )
        yield CounterMetricFamily("tollhouse_tls_reloads", "New TLS files taken.", value=watch.reloads)
        yield CounterMetricFamily(
            "tollhouse_tls_reload_failures", "TLS files found that cannot be served with.", value=watch.failures
        )
