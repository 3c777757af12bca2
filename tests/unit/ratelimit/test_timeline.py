"""Which value of a quota holds when: a merchant's age, and what was agreed for a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from helpers.limits import limit
from policy.schema.merchants import Merchant, Override
from policy.schema.quotas import Quota
from ratelimit.timeline import changes_of

ZONE = ZoneInfo("Europe/Berlin")
RAMP = [{"until_day": 7, "percent": 10}, {"until_day": 30, "percent": 30}]


def value_at(text: str, *, ramp: list[dict[str, int]] | None = None, overrides: tuple[Override, ...] = ()) -> int:
    quota = Quota.model_validate(
        {"id": "q", "owner": "a", "metric": "count", "operations": ["o"], "ramp_up": ramp or []}
    )
    since = "2026-03-25" if ramp else None
    merchant = Merchant(id="m", name="M", status="active", tier="t", time_zone=ZONE.key, since=since)
    changes = changes_of(quota, 1005, merchant, ZONE, overrides)
    now = datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()
    return replace(limit("q", 1005), changes=changes).value_at(now)


def override(limit: int, starts: str, ends: str) -> Override:
    return Override(merchant="m", quota="q", limit=limit, starts=starts, ends=ends, owner="a", reason="b", approver="c")


@pytest.mark.parametrize(
    ("now", "value"),
    [
        ("2020-01-01T00:00", 100),
        ("2026-03-25T00:00", 100),
        ("2026-03-31T23:59:59", 100),
        ("2026-04-01T00:00", 301),
        ("2026-04-23T23:59:59", 301),
        ("2026-04-24T00:00", 1005),
    ],
)
def test_young_merchant_grows_into_its_quota(now, value):
    assert value_at(now, ramp=RAMP) == value


@pytest.mark.parametrize(
    ("now", "value"),
    [
        ("2026-03-27T23:59:59", 1005),
        ("2026-03-28T00:00", 5000),
        ("2026-03-29T12:00", 2000),
        ("2026-03-30T12:00", 2000),
        ("2026-03-31T00:00", 1005),
    ],
)
def test_agreed_value_holds_from_the_first_to_the_last_day_and_the_lower_of_two_counts(now, value):
    overrides = (override(5000, "2026-03-28", "2026-03-30"), override(2000, "2026-03-29", "2026-03-30"))
    assert value_at(now, overrides=overrides) == value


def test_agreed_value_goes_before_the_age():
    assert value_at("2026-03-26T12:00", ramp=RAMP, overrides=(override(700, "2026-03-26", "2026-03-26"),)) == 700
    assert value_at("2026-03-27T12:00", ramp=RAMP, overrides=(override(700, "2026-03-26", "2026-03-26"),)) == 100
