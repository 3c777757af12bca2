"""Time, injected everywhere: only this module reads the machine's clocks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: wall time for dates in tokens and windows, monotonic for durations."""

    def wall(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        return time.monotonic()
