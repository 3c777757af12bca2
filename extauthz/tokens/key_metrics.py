"""What a scrape learns about token issuers' keys; registered by `server.build`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extauthz.tokens.key_sets import KeySets

_LABELS = ("provider",)


def register_keys(registry: CollectorRegistry, keys: KeySets) -> None:
    """Have each scrape look at the keys of the providers in force; their ids are the only label values."""
    registry.register(_KeyCollector(keys))


class _KeyCollector(Collector):
    def __init__(self, keys: KeySets) -> None:
        self._keys = keys

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        usable = GaugeMetricFamily(
            "tollhouse_token_keys_usable", "1 while tokens of this provider can be verified.", labels=_LABELS
        )
        past_age = GaugeMetricFamily(
            "tollhouse_token_keys_past_age_seconds",
            "How long ago the keys should have been refreshed; above 0 the last good ones serve on.",
            labels=_LABELS,
        )
        left = GaugeMetricFamily(
            "tollhouse_token_keys_left_seconds",
            "How long the keys may be used if the token issuer stays away.",
            labels=_LABELS,
        )
        failures = CounterMetricFamily(
            "tollhouse_token_keys_fetch_failures", "Fetches that brought no usable keys.", labels=_LABELS
        )
        skipped = GaugeMetricFamily(
            "tollhouse_token_keys_skipped", "Keys of the set that are not used; the log says why.", labels=_LABELS
        )
        for state in self._keys.states():
            usable.add_metric((state.provider,), float(state.is_usable))
            past_age.add_metric((state.provider,), state.seconds_past_age)
            left.add_metric((state.provider,), state.seconds_left)
            failures.add_metric((state.provider,), state.failures)
            skipped.add_metric((state.provider,), state.skipped)
        yield from (usable, past_age, left, failures, skipped)
