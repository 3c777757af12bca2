"""Response headers about quotas: RateLimit and RateLimit-Policy of the IETF draft, and the older X-RateLimit three.

Law: only numbers of requests, and only a merchant's own. Amounts have no unit there and are nobody's business on the
way; what a group or the platform has left tells one merchant about the others.
Source: draft-ietf-httpapi-ratelimit-headers; structured fields by RFC 9651.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import http_sf

from policy.schema.durations import duration_seconds
from policy.schema.quotas import Quota

_SECONDS: Final[Mapping[str | None, int]] = {
    "per_second": 1,
    "daily": 86_400,
    "weekly": 7 * 86_400,
    "monthly": 30 * 86_400,
}
_CONCURRENT: Final = "concurrent-requests"


class Told(NamedTuple):
    """What clients are told of a quota besides how it stands.

    Attributes:
        window_seconds: Its window as the draft's `w`; a month counts as 30 days, 0 stands for none.
        unit: The draft's `qu`; empty for requests.
        burst: Of a rate, how many requests at once; 0 for everything else.
        draft: In RateLimit and RateLimit-Policy.
        legacy: In the X-RateLimit headers.
    """

    window_seconds: int
    unit: str
    burst: int
    draft: bool
    legacy: bool


class Standing(NamedTuple):
    """How a quota stands.

    Attributes:
        quota: Its id.
        told: What else is told of it.
        limit: What is allowed.
        remaining: What is left, never below 0.
        reset_seconds: Until it begins anew; 0 where nothing does.
    """

    quota: str
    told: Told
    limit: int
    remaining: int
    reset_seconds: int


def told_of(quota: Quota, headers: Sequence[str], burst: int) -> Told | None:
    """Return what clients are told of a quota; None for nothing.

    Args:
        quota: Checked.
        headers: Of quotas.yaml: `draft`, `legacy`, both or none.
        burst: Of a rate; 0 for everything else.
    """
    is_shown = quota.metric in ("count", "in_flight") and quota.mode == "enforce" and quota.scope == "merchant"
    if not headers or not is_shown:
        return None
    seconds = _SECONDS.get(quota.interval, 0)
    if quota.interval in ("rate", "sliding", "rolling"):
        seconds = duration_seconds(quota.length or "1s")
    unit = _CONCURRENT if quota.metric == "in_flight" else ""
    return Told(seconds, unit, burst, "draft" in headers, "legacy" in headers)


def rate_limit_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """Return the headers for quotas that clients are told of; none without such quotas."""
    shown = _nearest_of_each(standings)
    headers = {}
    if any(each.told.draft for each in shown):
        policies = tuple((each.quota, each.limit, each.told.window_seconds, each.told.unit) for each in shown)
        headers["ratelimit-policy"] = _policies(policies)
        states: list[Any] = [(each.quota, _state(each)) for each in shown]
        headers["ratelimit"] = http_sf.ser(states)
    if any(each.told.legacy for each in shown):
        nearest = min(shown, key=_share_left)
        headers["x-ratelimit-limit"] = str(nearest.limit)
        headers["x-ratelimit-remaining"] = str(nearest.remaining)
        headers["x-ratelimit-reset"] = str(nearest.reset_seconds)
    return headers


def _nearest_of_each(standings: Sequence[Standing]) -> list[Standing]:
    """Return one standing a quota, the one with the least left: during a rotation of keys a card has two counters."""
    found: dict[str, Standing] = {}
    for each in standings:
        known = found.get(each.quota)
        if known is None or each.remaining < known.remaining:
            found[each.quota] = each
    return list(found.values())


def _state(standing: Standing) -> dict[str, int]:
    state = {"r": standing.remaining}
    if standing.reset_seconds:
        state["t"] = standing.reset_seconds
    return state


@lru_cache(maxsize=1024)
def _policies(policies: tuple[tuple[str, int, int, str], ...]) -> str:
    items: list[Any] = [(quota, _policy(limit, seconds, unit)) for quota, limit, seconds, unit in policies]
    return http_sf.ser(items)


def _policy(limit: int, seconds: int, unit: str) -> dict[str, int | str]:
    policy: dict[str, int | str] = {"q": limit}
    if unit:
        policy["qu"] = unit
    if seconds:
        policy["w"] = seconds
    return policy


def _share_left(standing: Standing) -> float:
    return standing.remaining / standing.limit if standing.limit else 0.0
