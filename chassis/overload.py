"""Which calls are worked on when there are more than can be: the rest is answered at once, without a decision.

Asked by both transports before a handler runs. Its law: a call that is shed costs a small part of one that is
served and gets the service's own refusal, never an allow; a call is shed while its caller still listens. Two
things run out: room (calls in progress, each of which holds memory) and time (what a call has waited before it
reached us, and what calls take at the moment, are lost to its deadline).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from chassis.clock import Clock
from chassis.rpc import Sheds

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS: Final = 10.0
_MAX_PEERS: Final = 1024
_UNIX_PEER: Final = "unix:"
_UNIX_SECONDS: Final = 10.0
"""How long what the callers of a Unix socket grant is believed: gRPC takes all of them for one peer."""

_SLOWER_WEIGHT: Final = 1 / 32
_FASTER_WEIGHT: Final = 1 / 8
_PACE_SECONDS: Final = 0.25
"""How long a pace is believed: while everything is shed nothing is learnt, and a call must find out."""


@dataclass(frozen=True, slots=True)
class LoadBounds:
    """From when on calls are shed.

    Attributes:
        max_in_flight: Calls in progress at the same time.
        time_share: Part of a call's time that must be left when it is begun.
        pace_share: How many times over what calls take at the moment must be left of a call that has waited.
        fresh_share: A call with more than this part of its time left has not waited: it is begun whatever others
            take, for those may wait for a store or a token issuer that is away.
    """

    max_in_flight: int = 1024
    time_share: float = 0.5
    pace_share: float = 2.0
    fresh_share: float = 0.875


class LoadGate:
    """Sheds calls of the methods that have an answer for it; others, such as the health check, always run.

    Belongs to one event loop.

    Attributes:
        in_flight: Calls in progress.
    """

    def __init__(
        self, sheds: Sheds, registry: CollectorRegistry, clock: Clock, bounds: LoadBounds = LoadBounds()
    ) -> None:
        """Make a gate that lets everything in.

        Args:
            sheds: What answers the calls of each method.
            registry: Takes the metrics.
            clock: Monotonic time.
            bounds: From when on calls are shed.
        """
        self.in_flight = 0
        self._sheds = dict(sheds)
        self._clock = clock
        self._bounds = bounds
        self._pace_seconds = 0.0
        self._paced_at = 0.0
        self._granted: dict[str, float] = {}
        self._unix_forgotten_at = 0.0
        self._logged_at = -_LOG_EVERY_SECONDS
        self._unlogged = 0
        shed = Counter(
            "tollhouse_shed", "Calls answered without a decision, by what ran out.", ("why",), registry=registry
        )
        self._out_of_room, self._out_of_time = shed.labels("room"), shed.labels("time")
        in_flight = Gauge("tollhouse_in_flight", "Calls in progress.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)

    def shed(self, path: str, left_seconds: float, granted_seconds: float) -> bytes | None:
        """Return the answer to a call that is not to be worked on, or None for one that is.

        Args:
            path: Its method.
            left_seconds: Until nobody listens any more.
            granted_seconds: What its caller granted; the wait is what lies between.
        """
        if self.in_flight >= self._bounds.max_in_flight:
            why = self._out_of_room
        elif self._is_too_late(left_seconds, granted_seconds):
            why = self._out_of_time
        else:
            return None
        answer = self._sheds.get(path)
        if answer is None:
            return None
        why.inc()
        self._log()
        return answer()

    def shed_by_rest(self, path: str, left_seconds: float | None, peer: str) -> bytes | None:
        """Do the same where only the rest is known: the longest rest seen stands for what a peer grants.

        Args:
            path: Its method.
            left_seconds: Until nobody listens any more; None for a caller that set no deadline.
            peer: Whose connection it is; callers of one connection mostly grant the same.
        """
        if left_seconds is None:
            return self.shed(path, 1.0, 1.0)
        if path not in self._sheds:
            return None  # nor is anything learnt: a health check may grant much more than a call
        if peer.startswith(_UNIX_PEER):
            self._forget_unix(peer)
        granted = self._granted.get(peer, 0.0)
        if left_seconds > granted:
            if len(self._granted) >= _MAX_PEERS:
                self._granted.clear()
            granted = self._granted[peer] = left_seconds
        return self.shed(path, left_seconds, granted)

    def _forget_unix(self, peer: str) -> None:
        """Keep one patient caller from having all calls of the others shed for ever."""
        now = self._clock.monotonic()
        if now - self._unix_forgotten_at >= _UNIX_SECONDS:
            self._granted.pop(peer, None)
            self._unix_forgotten_at = now

    def begin(self) -> None:
        """Count a call that is worked on; `end` follows, however it ends."""
        self.in_flight += 1

    def end(self, seconds: float) -> None:
        """Count it off, and learn from what it took how long calls take at the moment."""
        self.in_flight -= 1
        faster = seconds < self._pace_seconds
        self._pace_seconds += (seconds - self._pace_seconds) * (_FASTER_WEIGHT if faster else _SLOWER_WEIGHT)
        self._paced_at = self._clock.monotonic()

    def _is_too_late(self, left_seconds: float, granted_seconds: float) -> bool:
        """Tell whether too little is left, by what was granted or by what calls take at the moment."""
        if left_seconds >= granted_seconds * self._bounds.fresh_share:
            return False
        if left_seconds < granted_seconds * self._bounds.time_share:
            return True
        needed = self._pace_seconds * self._bounds.pace_share
        return left_seconds < needed and self._clock.monotonic() - self._paced_at < _PACE_SECONDS

    def _log(self) -> None:
        self._unlogged += 1
        now = self._clock.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            log.warning(
                "overloaded: calls are answered without a decision, %d since the last such line; "
                "the metric tollhouse_shed_total counts on",
                self._unlogged,
            )
            self._logged_at, self._unlogged = now, 0
