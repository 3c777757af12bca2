"""Headers about quotas: numbers of requests of the merchant itself, in the words of the draft and in the old ones."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest

from policy.schema.quotas import Quota
from protos import envoy_wire_pb2 as wire
from ratelimit.headers import Standing, Told, rate_limit_headers, told_of
from ratelimit.model import OverLimit, QuotaState, WithinLimit
from ratelimit.reasons import Reason
from ratelimit.wire import render_rate_limit_response

DRAFT, BOTH = Told(86_400, "", 0, draft=True, legacy=False), Told(1, "", 0, draft=True, legacy=True)


def quota(**changes: Any) -> Quota:
    fields: dict[str, Any] = {"id": "q", "owner": "risk", "metric": "count", "interval": "daily", "limit": 1}
    return Quota(**{**fields, "operations": ("pay",), **changes})


def state(name: str, used: int, *, told: Told | None, limit: int = 10, reset: int = 5, is_over: bool = False):
    return QuotaState(name, limit, used, reset, is_over, is_shadow=False, is_per_second=False, told=told)


def headers(verdict: WithinLimit | OverLimit) -> dict[str, str]:
    data = render_rate_limit_response(verdict, decision_id="d" * 32, errors_uri="https://docs.test/errors")
    return {each.key: each.value for each in wire.RateLimitResponse.FromString(data).response_headers_to_add}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, (86_400, "", 0)),
        ({"interval": "per_second"}, (1, "", 0)),
        ({"interval": "monthly"}, (2_592_000, "", 0)),
        ({"interval": "sliding", "length": "2h"}, (7200, "", 0)),
        ({"interval": "rate"}, (1, "", 7)),
        ({"interval": "lifetime"}, (0, "", 0)),
        ({"metric": "in_flight", "interval": None}, (0, "concurrent-requests", 0)),
    ],
    ids=str,
)
def test_window_and_unit_are_told(changes, told):
    burst = 7 if changes.get("interval") == "rate" else 0
    assert told_of(quota(**changes), ("draft",), burst) == (*told, True, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "amount", "currency": "EUR"},
        {"metric": "distinct", "distinct": "card"},
        {"mode": "shadow"},
        {"per": ("group",)},
        {"per": ("platform",)},
    ],
    ids=str,
)
def test_amounts_cards_and_what_others_share_are_nobodys_business(changes):
    assert told_of(quota(**changes), ("draft", "legacy"), 0) is None


def test_nothing_is_told_unless_it_is_written():
    assert told_of(quota(), (), 0) is None
    assert headers(WithinLimit((state("q", 1, told=None),))) == {}


def test_draft_names_every_quota_with_what_is_left():
    said = headers(WithinLimit((state("day", 3, told=DRAFT), state("amount", 1, told=None), state("s", 9, told=BOTH))))
    assert said["ratelimit-policy"] == '"day";q=10;w=86400, "s";q=10;w=1'
    assert said["ratelimit"] == '"day";r=7;t=5, "s";r=1;t=5'
    parsed: Any = http_sf.parse(said["ratelimit"].encode(), tltype="list")
    assert parsed == [("day", {"r": 7, "t": 5}), ("s", {"r": 1, "t": 5})]


def test_old_headers_tell_of_the_quota_with_the_least_left():
    legacy = DRAFT._replace(draft=False, legacy=True)
    said = headers(WithinLimit((state("day", 3, told=legacy), state("s", 9, told=legacy, reset=1))))
    assert said == {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "1"}


def test_refusal_says_the_same_moment_in_every_header():
    over = state("day", 10, told=DRAFT, reset=3600, is_over=True)
    said = headers(OverLimit(Reason.QUOTA_EXCEEDED, over, (over, state("s", 1, told=DRAFT)), 3600))
    assert said["ratelimit"] == '"day";r=0;t=3600, "s";r=9;t=5'
    assert said["retry-after"] == "3600"


def test_rate_has_its_burst_left_and_what_begins_never_anew_has_no_moment():
    rate = DRAFT._replace(burst=4)
    assert state("r", 1, told=rate).standing(rate).remaining == 3
    assert rate_limit_headers([Standing("q", DRAFT, 10, 10, 0)])["ratelimit"] == '"q";r=10'


def test_quota_with_two_counters_is_told_once_by_the_fuller_one():
    said = headers(WithinLimit((state("card", 3, told=DRAFT), state("card", 8, told=DRAFT))))
    assert said["ratelimit"] == '"card";r=2;t=5'
