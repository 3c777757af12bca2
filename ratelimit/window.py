"""Windows of quotas: which one a moment falls into, and when it ends.

Scenario, time zone Europe/Berlin, daily quota: a payment at 2026-03-29T21:30Z is at 23:30 local time and
counts into the 29th, a day of 23 hours (the clocks went forward); at 22:00Z the 30th begins. With a cut-off at
18:00 the business day of the 29th has begun on the 28th and this payment counts into the 30th.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

_SECOND_TTL: Final = 5  # seconds; replicas whose clocks differ a little still meet on one counter
_TTL_MARGIN: Final = 3600  # seconds a counter outlives its window, for late readers and late releases
_MAX_KEPT: Final = 10_000
ENDLESS: Final = 253_402_300_799.0
"""Where a window ends that never does: the last second of the year 9999."""
_LIFETIME_TTL: Final = 10 * 365 * 86_400


class Window(NamedTuple):
    """One window.

    Attributes:
        label: Part of the counter key; two windows of one quota never share it.
        starts_at: Seconds since 1970; its first moment.
        ends_at: Seconds since 1970; the first moment of the next window.
        ttl_margin_seconds: How long the counter is kept after the end.
    """

    label: str
    starts_at: float
    ends_at: float
    ttl_margin_seconds: int

    def reset_seconds(self, now: float) -> int:
        """Return whole seconds until the window ends, at least 1; 0 when it never does."""
        return 0 if self.ends_at == ENDLESS else max(1, math.ceil(self.ends_at - now))

    def expires_in_seconds(self, now: float) -> int:
        """Return the time to live of this window's counter."""
        return self.ttl_margin_seconds + self.reset_seconds(now)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What bounds the windows of one quota; one object a quota, compared by identity.

    Attributes:
        unit: A calendar unit; `rolling` begins anew every `length_seconds` from `anchor`; `lifetime` never ends.
        zone: Of the calendar; None is the merchant's.
        cut_off_minutes: Minutes after midnight at which a day, week or month turns.
        start_day: First day of a week (1 Monday to 7 Sunday) or of a month (1 to 28).
        length_seconds: Of a rolling window.
        anchor: Whole seconds since 1970 at which a rolling window began.
    """

    unit: Literal["second", "day", "week", "month", "rolling", "lifetime"]
    zone: ZoneInfo | None = None
    cut_off_minutes: int = 0
    start_day: int = 1
    length_seconds: int = 0
    anchor: int = 0

    def window(self, now: float, zone: ZoneInfo) -> Window:
        """Return the window `now` (seconds since 1970) falls into, for a merchant in `zone`."""
        match self.unit:
            case "second":
                return second_window(now)
            case "rolling":
                return self._rolling(now)
            case "lifetime":
                return Window("life", 0.0, ENDLESS, _LIFETIME_TTL)
        return self._calendar(now, self.zone or zone)

    def _rolling(self, now: float) -> Window:
        turns = math.floor((now - self.anchor) / self.length_seconds)
        starts = self.anchor + turns * self.length_seconds
        return Window(f"r{self.length_seconds}.{starts:.0f}", starts, starts + self.length_seconds, _TTL_MARGIN)

    def _calendar(self, now: float, zone: ZoneInfo) -> Window:
        """Wall-clock turns, then to UTC: what holds a clock change is shorter or longer by itself."""
        first = self._first_day(datetime.fromtimestamp(now, UTC).astimezone(zone).date())
        # The cut-off moves the turn by less than a day, so the moment lies in this unit or in one beside it.
        while self._turn(first, zone) > now:
            first = self._first_day(first - timedelta(days=1))
        while self._turn(following := self._following(first), zone) <= now:
            first = following
        late = f"t{self.cut_off_minutes // 60:02}{self.cut_off_minutes % 60:02}" if self.cut_off_minutes else ""
        label = f"{self.unit[0]}{first:%Y%m%d}{late}"
        return Window(label, self._turn(first, zone), self._turn(following, zone), _TTL_MARGIN)

    def _first_day(self, day: date) -> date:
        if self.unit == "week":
            return day - timedelta(days=(day.isoweekday() - self.start_day) % 7)
        if self.unit == "month":
            month = day if day.day >= self.start_day else day.replace(day=1) - timedelta(days=1)
            return month.replace(day=self.start_day)
        return day

    def _following(self, first: date) -> date:
        if self.unit == "week":
            return first + timedelta(days=7)
        if self.unit == "month":
            return (first.replace(day=1) + timedelta(days=32)).replace(day=self.start_day)
        return first + timedelta(days=1)

    def _turn(self, day: date, zone: ZoneInfo) -> float:
        hour, minute = divmod(self.cut_off_minutes, 60)
        return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()


def second_window(now: float) -> Window:
    """Return the calendar second `now` falls into."""
    second = math.floor(now)
    return Window(f"s{second}", float(second), second + 1.0, _SECOND_TTL)


class Windows:
    """Windows, those of now kept, so that a request does no calendar work."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Frame, str], Window] = {}
        self._second = second_window(0.0)

    def window(self, frame: Frame, now: float, zone: ZoneInfo) -> Window:
        """Return the window of a quota.

        Args:
            frame: Of the quota.
            now: Seconds since 1970.
            zone: The merchant's time zone.
        """
        if frame.unit == "second":
            # Compared at both ends: a clock stepped back falls into an earlier second.
            if not self._second.starts_at <= now < self._second.ends_at:
                self._second = second_window(now)
            return self._second
        key = (frame, zone.key)
        kept = self._kept.get(key)
        if kept is not None and kept.starts_at <= now < kept.ends_at:
            return kept
        if len(self._kept) >= _MAX_KEPT:
            # Frames of policy sets that are gone; those in use come back at once.
            self._kept.clear()
        window = self._kept[key] = frame.window(now, zone)
        return window
