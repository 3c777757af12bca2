"""Lengths of time as policy files write them: `30s`, `15m`, `24h`, `90d`."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

DURATION_PATTERN: Final = r"^[1-9][0-9]{0,5}[smhd]$"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""A time of day, `00:00` to `23:59`."""
CalendarDate = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]


def duration_seconds(text: str) -> int:
    """Return the seconds of a `Duration`."""
    return int(text[:-1]) * _SECONDS[text[-1]]


def minutes_of_day(text: str) -> int:
    """Return the minutes after midnight of a `ClockTime`."""
    return int(text[:2]) * 60 + int(text[3:])
