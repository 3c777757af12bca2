"""From when which value of a quota holds for a merchant: its age, and what was agreed for a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from policy.schema.merchants import Merchant, Override
from policy.schema.quotas import Quota


def changes_of(
    quota: Quota, value: int, merchant: Merchant, zone: ZoneInfo, overrides: Sequence[Override]
) -> tuple[tuple[float, int], ...]:
    """Return each moment (seconds since 1970) from which another value holds, in order.

    Before the first of them `value` holds. An override goes before ramp_up; where two overrides meet, the lower value.

    Args:
        quota: With its `ramp_up`.
        value: What holds without any of this.
        merchant: With `since`.
        zone: In which days begin.
        overrides: Of this merchant and quota.
    """
    days = sorted({*_ramp_days(quota, merchant), *_override_days(overrides)})
    changes: list[tuple[float, int]] = []
    current = value
    for day in days:
        held = _value_on(day, quota, value, merchant, overrides)
        if held != current:
            changes.append((_begins(day, zone), held))
            current = held
    return tuple(changes)


def _begins(day: date, zone: ZoneInfo) -> float:
    if day == date.min:
        return 0.0
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _ramp_days(quota: Quota, merchant: Merchant) -> set[date]:
    if merchant.since is None or not quota.ramp_up:
        return set()
    first = date.fromisoformat(merchant.since)
    # From the beginning of time: before its first day a merchant is as young as on it.
    return {date.min, *(first + timedelta(days=step.until_day) for step in quota.ramp_up)}


def _override_days(overrides: Sequence[Override]) -> set[date]:
    starts = {date.fromisoformat(override.starts) for override in overrides}
    return starts | {date.fromisoformat(override.ends) + timedelta(days=1) for override in overrides}


def _value_on(day: date, quota: Quota, value: int, merchant: Merchant, overrides: Sequence[Override]) -> int:
    agreed = [each.limit for each in overrides if each.starts <= day.isoformat() <= each.ends]
    if agreed:
        return min(agreed)
    if merchant.since is None or not quota.ramp_up:
        return value
    age = (day - date.fromisoformat(merchant.since)).days + 1
    for step in sorted(quota.ramp_up, key=lambda step: step.until_day):
        if age <= step.until_day:
            return value * step.percent // 100
    return value
