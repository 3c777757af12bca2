"""What a scrape learns about events, with labels from closed sets only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from extauthz.events.model import EventFault
from extauthz.events.reader import Transport

TRANSPORTS: Final[tuple[Transport, ...]] = ("logout", "push")
Settled = Literal["accepted", "repeated", "postponed", "held_up"]
_SETTLED: Final[tuple[Settled, ...]] = ("accepted", "repeated", "postponed", "held_up")


class EventMetrics:
    """Counts what became of events; every series is there from the start.

    Args:
        registry: Of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        events = Counter(
            "tollhouse_events",
            "Events by what became of them: accepted, repeated, postponed (503), held_up (429), or why refused (400).",
            ("transport", "outcome"),
            registry=registry,
        )
        outcomes = (*_SETTLED, *(fault.value for fault in EventFault))
        self._events = {(way, outcome): events.labels(way, outcome) for way in TRANSPORTS for outcome in outcomes}
        self._unknown = Counter(
            "tollhouse_events_unknown_types", "Event types of verified events that end nothing here.", registry=registry
        )

    def settled(self, transport: Transport, outcome: Settled) -> None:
        """Count an event that was not refused for what it is."""
        self._events[transport, outcome].inc()

    def refused(self, transport: Transport, fault: EventFault) -> None:
        """Count an event that is not believed."""
        self._events[transport, fault.value].inc()

    def unknown_types(self, number: int) -> None:
        """Count event types that are not known here."""
        self._unknown.inc(number)

    def follow_certificate(self, seconds_left: Callable[[], float]) -> None:
        """Have each scrape ask when the certificate of the listener expires."""
        gauge = Gauge(
            "tollhouse_events_certificate_expiry_seconds",
            "Seconds until the certificate of --events expires; negative afterwards.",
            registry=self._registry,
        )
        gauge.set_function(seconds_left)
