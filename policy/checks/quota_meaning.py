"""quotas.yaml: every setting of a quota has a meaning beside the others; what would protect nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from policy.diagnostics import quote
from policy.merchants import time_zone_names
from policy.money import minor_unit_exponent
from policy.names import QUOTAS_FILE
from policy.parts import Parts
from policy.schema.durations import duration_seconds
from policy.schema.quotas import SCOPES, Quota
from policy.schema.routes import RoutesFile

MAX_MEMBERS: Final = 10_000
"""Largest limit of what is kept member by member: distinct cards, requests in flight."""
_LONGEST_SECONDS: Final = 90 * 86_400
_SHORTEST_SLIDING_SECONDS: Final = 60

_CALENDAR: Final = frozenset({"daily", "weekly", "monthly"})
_WINDOWS: Final = _CALENDAR | {"sliding", "rolling", "lifetime"}
_INTERVALS: Final = {
    "count": _WINDOWS | {"per_second", "rate"},
    "amount": _WINDOWS | {"per_transaction"},
    "distinct": _WINDOWS,
    "in_flight": frozenset[str](),
}
_WITH: Final[dict[str, tuple[str, Callable[[Quota], bool]]]] = {
    "length": ("interval sliding, rolling or rate", lambda quota: quota.interval in ("sliding", "rolling", "rate")),
    "anchor": ("interval rolling", lambda quota: quota.interval == "rolling"),
    "burst": ("interval rate", lambda quota: quota.interval == "rate"),
    "lease": ("metric in_flight", lambda quota: quota.metric == "in_flight"),
    "distinct": ("metric distinct", lambda quota: quota.metric == "distinct"),
    "time_zone": ("daily, weekly, monthly or rolling", lambda quota: quota.interval in _CALENDAR | {"rolling"}),
    "cut_off": ("daily, weekly or monthly", lambda quota: quota.interval in _CALENDAR),
    "start_day": ("weekly or monthly", lambda quota: quota.interval in ("weekly", "monthly")),
    "without": ("what a payment may lack, such as per: card", lambda quota: bool(quota.subjects)),
    "local_percent": ("on_store_failure: local", lambda quota: quota.on_store_failure == "local"),
    "on_store_failure": (
        "a counter; a per_transaction quota needs no store",
        lambda quota: quota.interval != "per_transaction",
    ),
    "warn_at": ("a counter", lambda quota: quota.interval != "per_transaction"),
}
"""Settings that say nothing without another: what they belong to, and whether it is there."""


def check_quota_meaning(parts: Parts, index: int, quota: Quota) -> None:
    """Add every setting of one quota that says nothing, or contradicts another."""
    path = ("quotas", index)
    for key, (what, is_there) in _WITH.items():
        if getattr(quota, key) not in (None, ()) and not is_there(quota):
            parts.add_at_key(QUOTAS_FILE, (*path, key), "P072", f"{key} belongs to {what}; remove it")
    faults = (_interval_faults, _number_faults, _calendar_faults, _per_faults, _lease_faults)
    for key, message in (found for find in faults for found in find(quota)):
        parts.add(QUOTAS_FILE, (*path, key), "P072", message)
    _check_currency(parts, index, quota)
    _warn_of_outcomes(parts, index, quota)


def _warn_of_outcomes(parts: Parts, index: int, quota: Quota) -> None:
    """Warn of a quota that waits for outcomes which none of its operations can tell."""
    routes = parts.find_sound(RoutesFile)
    if quota.counts != "authorized" or routes is None:
        return
    telling = {operation.operation for operation in routes.operations if operation.outcome is not None}
    if telling.isdisjoint(quota.operations):
        message = "no operation of it has outcome.declined: a declined payment stays counted, as with attempts"
        parts.add(QUOTAS_FILE, ("quotas", index, "counts"), "P083", message, "warning")


def _interval_faults(quota: Quota) -> Iterator[tuple[str, str]]:
    allowed = _INTERVALS[quota.metric]
    if quota.interval is None and allowed:
        yield "metric", f"{quota.metric} needs an interval: {', '.join(sorted(allowed))}"
    elif quota.interval is not None and quota.interval not in allowed:
        takes = f"takes {', '.join(sorted(allowed))}" if allowed else "has no interval"
        yield "interval", f"{quota.metric} {takes}, not {quota.interval}"
    if quota.metric == "distinct" and quota.distinct is None:
        yield "metric", "distinct needs 'distinct': what is counted, such as card"
    if quota.interval in ("sliding", "rolling") and quota.length is None:
        yield "interval", f"{quota.interval} needs 'length', such as 24h"
    if quota.counts == "authorized" and (quota.metric not in ("count", "amount") or quota.interval not in _WINDOWS):
        yield "counts", "only a count or an amount over time can be given back; rates and single payments cannot"


def _number_faults(quota: Quota) -> Iterator[tuple[str, str]]:
    for key in ("length", "lease"):
        text = getattr(quota, key)
        if text is not None and duration_seconds(text) > _LONGEST_SECONDS:
            yield key, "at most 90d; a longer span is a rolling or calendar window"
    if quota.interval == "sliding" and quota.length and duration_seconds(quota.length) < _SHORTEST_SLIDING_SECONDS:
        yield "length", "a sliding span has at least 60s; shorter ones are a rate"
    if quota.on_store_failure == "local" and quota.local_percent is None:
        yield "on_store_failure", "local needs local_percent, at most 100 divided by the number of replicas"
    largest = max((quota.limit or 0, *quota.tiers.values(), *quota.merchants.values()))
    if quota.metric in ("distinct", "in_flight") and largest > MAX_MEMBERS:
        yield "metric", f"{quota.metric} is kept one by one: at most {MAX_MEMBERS}"
    days = [step.until_day for step in quota.ramp_up]
    if days != sorted(set(days)):
        yield "ramp_up", "until_day grows from step to step"


def _calendar_faults(quota: Quota) -> Iterator[tuple[str, str]]:
    if quota.interval == "weekly" and quota.start_day is not None and quota.start_day.isdigit():
        yield "start_day", "a week starts with a day's name, such as monday"
    if quota.interval == "monthly" and quota.start_day is not None and not quota.start_day.isdigit():
        yield "start_day", "a month starts with a number from 1 to 28"
    if quota.anchor is not None and not is_date(quota.anchor):
        yield "anchor", f"{quote(quota.anchor)} is not a date"
    if quota.time_zone is not None and quota.time_zone not in time_zone_names():
        yield "time_zone", f"unknown IANA time zone {quote(quota.time_zone)}"


def _per_faults(quota: Quota) -> Iterator[tuple[str, str]]:
    scopes = [each for each in quota.per if each in SCOPES]
    if len(set(quota.per)) != len(quota.per) or len(scopes) > 1:
        yield "per", "each word once, and one of merchant, group, platform at most"
    if quota.interval == "per_transaction" and quota.per != ("merchant",):
        yield "per", "one transaction is compared by itself; a per_transaction quota counts nothing"
    if scopes in (["group"], ["platform"]) and (quota.merchants or quota.ramp_up):
        yield "per", "a counter that merchants share has no value of one merchant; use limit or tiers"


def _lease_faults(quota: Quota) -> Iterator[tuple[str, str]]:
    if quota.coordination == "exact":
        return
    if quota.metric != "count" or quota.interval in ("sliding", "rate", "per_transaction"):
        yield "coordination", "leased is for counts in windows: per_second, daily, weekly, monthly, rolling, lifetime"
    elif quota.counts == "authorized":
        yield "coordination", "what is leased is not given back payment by payment; use counts: attempts"


def _check_currency(parts: Parts, index: int, quota: Quota) -> None:
    path = ("quotas", index)
    if quota.metric != "amount" and quota.currency is not None:
        parts.add(QUOTAS_FILE, (*path, "currency"), "P070", f"{quota.metric} has no currency; remove it")
    if quota.metric == "amount" and quota.currency is None:
        parts.add(QUOTAS_FILE, (*path, "metric"), "P070", "an amount needs 'currency'")
    if quota.currency is not None and minor_unit_exponent(quota.currency) is None:
        message = f"{quote(quota.currency)} is no ISO 4217 code with minor units"
        parts.add(QUOTAS_FILE, (*path, "currency"), "P071", message)


def is_date(text: str) -> bool:
    """Tell whether a text of digits and dashes is a day of the calendar."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
