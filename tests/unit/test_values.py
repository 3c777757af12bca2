"""Values of the decision path: nothing missing may read as yes."""

from __future__ import annotations

import orjson
import pytest

from chassis.problem import problem_body
from extauthz.model import Allow, Deny, Unavailable
from extauthz.reasons import Reason
from policy.schema.quotas import Quota

DECISIONS = [Allow(handoff={}, forward_token=False), Deny(Reason.ROUTE_UNKNOWN), Unavailable(Reason.INTERNAL)]


@pytest.mark.parametrize("decision", DECISIONS, ids=["allow", "deny", "unavailable"])
def test_decision_tested_for_truth_raises(decision):
    with pytest.raises(TypeError):
        bool(decision)


def test_reason_codes_are_unique_and_never_a_success():
    codes = [reason.code for reason in Reason]
    assert len(codes) == len(set(codes))
    assert all(reason.spec.http_status >= 400 for reason in Reason)


def test_problem_body_carries_reason_status_and_decision_id():
    spec = Reason.MERCHANT_SUSPENDED.spec
    body = orjson.loads(problem_body(spec, base_uri="https://docs.test/errors", decision_id="a" * 32))
    assert body["type"] == "https://docs.test/errors#merchant_suspended"
    assert (body["status"], body["reason"], body["decision_id"]) == (403, "merchant_suspended", "a" * 32)


@pytest.mark.parametrize("limit", ["5.0", "1e3", "0x10", "05", "-1", "9007199254740992", ""])
def test_quota_limit_not_a_plain_amount_is_refused(limit):
    written = {"id": "a", "owner": "x", "metric": "count", "interval": "daily", "operations": ["p"]}
    with pytest.raises(ValueError, match="limit"):
        Quota.model_validate({**written, "limit": limit})


def test_quota_limit_of_the_largest_exact_amount_is_accepted():
    written = {"id": "a", "owner": "x", "metric": "count", "interval": "daily", "operations": ["p"]}
    assert Quota.model_validate({**written, "limit": "9007199254740991"}).limit == 2**53 - 1
