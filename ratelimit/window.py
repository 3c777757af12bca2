"""Windows of quotas: which one a moment falls into, and when it ends.

Scenario, time zone Europe/Berlin, daily quota: a payment at 2026-03-29T21:30Z is at 23:30 local time and
counts into the 29th, a day of 23 hours (the clocks went forward); at 22:00Z the 30th begins.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

Interval = Literal["per_transaction", "per_second", "daily"]

_SECOND_TTL: Final = 5  # seconds; replicas whose clocks differ a little still meet on one counter
_DAY_TTL_MARGIN: Final = 3600  # seconds a day's counter outlives its day, for late readers


class Window(NamedTuple):
    """One window.

    Attributes:
        label: Part of the counter key; two windows of one quota never share it.
        ends_at: Seconds since 1970; the first moment of the next window.
        ttl_margin_seconds: How long the counter is kept after the end.
    """

    label: str
    ends_at: float
    ttl_margin_seconds: int

    def reset_seconds(self, now: float) -> int:
        """Return whole seconds until the window ends, at least 1."""
        return max(1, math.ceil(self.ends_at - now))

    def expires_in_seconds(self, now: float) -> int:
        """Return the time to live of this window's counter."""
        return self.reset_seconds(now) + self.ttl_margin_seconds


def second_window(now: float) -> Window:
    """Return the calendar second `now` falls into."""
    second = math.floor(now)
    return Window(f"s{second}", second + 1.0, _SECOND_TTL)


def day_window(now: float, zone: ZoneInfo) -> Window:
    """Return the local calendar day `now` falls into; it has 23, 24 or 25 hours."""
    local = datetime.fromtimestamp(now, UTC).astimezone(zone)
    next_day = local.date() + timedelta(days=1)
    # Wall-clock midnight, then to UTC: a day with a clock change is shorter or longer by itself.
    ends = datetime(next_day.year, next_day.month, next_day.day, tzinfo=zone)
    return Window(f"d{local:%Y%m%d}", ends.timestamp(), _DAY_TTL_MARGIN)


class Windows:
    """Windows, those of now kept, so that a request does no calendar work."""

    def __init__(self) -> None:
        self._days: dict[str, tuple[float, Window]] = {}
        self._second = second_window(0.0)

    def window(self, interval: Interval, now: float, zone: ZoneInfo) -> Window:
        """Return the window of an interval.

        Args:
            interval: Of the quota.
            now: Seconds since 1970.
            zone: The merchant's time zone.

        Raises:
            ValueError: The interval is `per_transaction`, which has no window.
        """
        if interval == "per_transaction":
            raise ValueError("a single payment has no window")
        if interval == "per_second":
            # Compared at both ends: a clock stepped back falls into an earlier second.
            if not self._second.ends_at - 1.0 <= now < self._second.ends_at:
                self._second = second_window(now)
            return self._second
        known = self._days.get(zone.key)
        # The lower bound matters when the clock is stepped back over midnight.
        if known is not None and known[0] <= now < known[1].ends_at:
            return known[1]
        day = day_window(now, zone)
        self._days[zone.key] = (now, day)
        return day
