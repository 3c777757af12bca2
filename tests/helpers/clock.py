"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Implements `chassis.clock.Clock`; both clocks move together.

    Attributes:
        now: Wall time, seconds since 1970.
        elapsed: Monotonic time, seconds.
    """

    def __init__(self, now: float = 1_700_000_000.0, elapsed: float = 1000.0) -> None:
        self.now = now
        self.elapsed = elapsed

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.elapsed += seconds
