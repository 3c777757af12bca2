"""How the ledger counts each quota: its kind, its windows and the numbers of its algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from policy.schema.durations import duration_seconds, minutes_of_day
from policy.schema.quotas import Quota
from ratelimit.ledger import Kind
from ratelimit.window import Frame

SLIDING_BUCKETS: Final = 60
"""Buckets of a sliding span: what slides out late is a sixtieth of it."""
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MARGIN_SECONDS: Final = 60
_DEFAULT_LEASE: Final = "60s"
_DEFAULT_RATE_LENGTH: Final = "1s"
_UNITS: Final = {"per_second": "second", "daily": "day", "weekly": "week", "monthly": "month"}
_RATES: Final = frozenset({"per_second", "rate"})


@dataclass(frozen=True, slots=True)
class Counting:
    """What is the same for every merchant of one quota.

    Attributes:
        kind: See `ratelimit.ledger.Kind`.
        frame: Bounds of its windows, one object for all merchants; None where it has none.
        span_seconds: Of what slides, refills or is leased.
        is_single: Each payment is compared by itself.
        is_once: A repeat of a payment adds nothing: rates and requests in flight count each request.
    """

    kind: Kind
    frame: Frame | None
    span_seconds: int
    is_single: bool
    is_once: bool

    @classmethod
    def of(cls, quota: Quota) -> Counting:
        """Return how a checked quota counts."""
        is_once = quota.interval not in _RATES and quota.metric != "in_flight"
        if quota.metric == "in_flight":
            return cls(Kind.LEASE, None, duration_seconds(quota.lease or _DEFAULT_LEASE), False, is_once)
        if quota.interval == "per_transaction":
            return cls(Kind.WINDOW, None, 0, True, is_once)
        if quota.interval == "rate":
            return cls(Kind.RATE, None, duration_seconds(quota.length or _DEFAULT_RATE_LENGTH), False, is_once)
        if quota.interval == "sliding" and quota.length is not None:
            kind = Kind.DISTINCT if quota.metric == "distinct" else Kind.SLIDING
            return cls(kind, None, duration_seconds(quota.length), False, is_once)
        kind = Kind.DISTINCT if quota.metric == "distinct" else Kind.WINDOW
        return cls(kind, _frame(quota), 0, False, is_once)

    def numbers(self, quota: Quota, value: int) -> dict[str, Any]:
        """Return the members of a `Limit` that its algorithm works with."""
        is_rate = quota.interval in _RATES or quota.metric == "in_flight"
        shared = {"kind": self.kind, "frame": self.frame, "is_single": self.is_single, "is_rate": is_rate}
        span_ms = self.span_seconds * 1000
        match self.kind:
            case Kind.SLIDING:
                step = -(-span_ms // SLIDING_BUCKETS)
                expires = self.span_seconds + 2 * -(-step // 1000) + _MARGIN_SECONDS
                return {**shared, "step": step, "buckets": SLIDING_BUCKETS, "expires_in_seconds": expires}
            case Kind.RATE:
                burst = quota.burst or max(1, value)
                # Rounded up: never faster than the rate that is written.
                step = -(-self.span_seconds * 1_000_000 // max(1, value))
                expires = -(-step * burst // 1_000_000) + _MARGIN_SECONDS
                return {**shared, "step": step, "buckets": burst, "expires_in_seconds": expires}
            case Kind.DISTINCT | Kind.LEASE:
                return {**shared, "step": span_ms, "expires_in_seconds": self.span_seconds + _MARGIN_SECONDS}
        return shared


def _frame(quota: Quota) -> Frame:
    zone = ZoneInfo(quota.time_zone) if quota.time_zone else None
    if quota.interval == "lifetime":
        return Frame("lifetime")
    if quota.interval == "rolling" and quota.length is not None:
        return Frame("rolling", length_seconds=duration_seconds(quota.length), anchor=_anchor(quota, zone))
    unit = _UNITS.get(quota.interval or "")
    if unit is None:
        raise ValueError(f"quota {quota.id} has no interval")
    minutes = minutes_of_day(quota.cut_off) if quota.cut_off else 0
    return Frame(unit, zone, minutes, _start_day(quota.start_day))  # type: ignore[arg-type]


def _anchor(quota: Quota, zone: ZoneInfo | None) -> int:
    if quota.anchor is None:
        return 0
    day = date.fromisoformat(quota.anchor)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone or UTC).timestamp())


def _start_day(text: str | None) -> int:
    if text is None:
        return 1
    return _WEEKDAYS.index(text) + 1 if text in _WEEKDAYS else int(text)
