"""Every rate-limit case over real gRPC and real stores, as envoyproxy/ratelimit and by default."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from helpers.limit_cases import files
from helpers.limit_cases.deviations import DEVIATIONS
from helpers.limit_cases.replay import LimitStack, limit_stack, refusals, replay
from helpers.valkey import SERVERS
from protos import envoy_wire_pb2 as wire

CASES = files.cases()
REFUSED = files.cases("config_error")
HTTP = files.cases("http_json")
"""Replayed by tests/rpc/test_limit_pages.py."""


@pytest.fixture(params=SERVERS)
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[LimitStack]:
    async with limit_stack(request.param) as running:
        yield running


def test_every_case_is_of_a_kind_that_is_replayed():
    assert len(CASES) + len(REFUSED) + len(HTTP) == len(files.load()["cases"]) == 82
    assert set(DEVIATIONS) <= set(CASES)


async def test_compat_answers_every_case_as_it_says(stack, case_counts):
    report = await replay(stack, CASES, is_compat=True)
    case_counts["limits executed"] = case_counts.get("limits executed", 0) + len(report.executed)
    case_counts["limits disagreed"] = case_counts.get("limits disagreed", 0) + len(report.disagreed)
    assert report.disagreed == {}
    assert report.executed == list(CASES)


async def test_default_differs_in_the_cases_of_the_table_alone(stack, case_counts):
    report = await replay(stack, CASES, is_compat=False)
    case_counts["limits otherwise by default"] = len(report.disagreed)
    assert set(report.disagreed) == set(DEVIATIONS), report.disagreed


@pytest.mark.parametrize("is_compat", [True, False])
def test_broken_files_are_refused_in_their_words(is_compat):
    assert refusals(list(REFUSED.values()), is_compat=is_compat) == {}


@pytest.mark.parametrize("code", ["OK", "OVER_LIMIT"])
async def test_service_that_always_says_the_same_fails_every_case_that_expects_the_other(stack, monkeypatch, code):
    async def answer(_: object, message: bytes, deadline: float) -> bytes:
        return wire.RateLimitResponse(overall_code=wire.RateLimitResponse.Code.Value(code)).SerializeToString()

    monkeypatch.setattr("ratelimit.descriptors.servicer.DomainServicer.should_rate_limit", answer)
    other = {case_id: case for case_id, case in CASES.items() if _expects_other(case, code)}
    report = await replay(stack, other, is_compat=True)
    assert len(other) > 20
    assert set(report.disagreed) == set(other)


def _expects_other(case: dict, code: str) -> bool:
    expected = [step["expect"] for step in case["steps"] if "expect" in step]
    return any("error" in each or each.get("overall", code) != code for each in expected)
