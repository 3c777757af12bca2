"""Every case of this folder against a running service, in both header encodings; and the replay against itself."""

from __future__ import annotations

import json

import pytest

from extauthz.model import Allow, Deny, Principal
from extauthz.reasons import Reason
from extauthz.servicer import AuthorizationServicer
from extauthz.tokens.gate import TokenGate
from helpers.cases import binding, claims, grants, introspection, jose, keys, presentation, revocations, signatures  # noqa: F401 - importing registers their builders
from helpers.cases.not_built import DECIDED_OTHERWISE, NOT_BUILT
from helpers.cases.registry import BUILDERS, load_cases
from helpers.cases.replay import Replay
from helpers.cases.request import FORMS
from helpers.cases.revocations import CALLED_BACK, RECEIVED, receiver
from helpers.cases.rig import case_rig
from helpers.cases.tools import REFUSED
from helpers.policy_sets import write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set

CASES = load_cases()
BUILT = [CASES[case_id] for case_id in BUILDERS if case_id not in NOT_BUILT]
ENVOY_LEVELS = ("contract", "e2e")
"""Replayed by test_contract_cases.py and test_end_to_end_cases.py, with a real Envoy in between."""
MAY_DO_ANYTHING = Principal(
    token_issuer="https://as.example.test",
    subject="payer-1",
    client_id="shop-1",
    scopes=frozenset({"payments:read", "payments:write"}),
    claims={
        "merchant_id": "m_100",
        "auth_time": 1_700_000_000,
        "acr": "urn:sca",
        "authorization_details": grants.ANY_GRANT,
    },
    issued_at=1_700_000_000.0,
    expires_at=1_800_000_000.0,
)


def test_every_case_is_replayed_or_named():
    named = {case.id for case in CASES.values() if case.is_out_of_scope or case.level in ENVOY_LEVELS}
    assert set(CASES) == {*BUILDERS, *NOT_BUILT, *REFUSED, *RECEIVED, *named}
    assert not set(NOT_BUILT) & ({*REFUSED, *RECEIVED} | named)
    assert len(DECIDED_OTHERWISE) <= 3


async def test_cases_are_decided_as_they_say(case_counts):
    report = await Replay().run(BUILT)
    case_counts["executed"] = len(report.outcomes) + len(REFUSED) + len(RECEIVED)
    case_counts["disagreed"] = len(report.disagreed)
    case_counts["not built yet"] = len(NOT_BUILT)
    case_counts["out of scope"] = sum(case.is_out_of_scope for case in CASES.values())
    assert report.disagreed_ids == set(DECIDED_OTHERWISE), report.lines()
    assert not any(outcome.is_looser for outcome in report.disagreed), report.lines()
    assert len(report.outcomes) == len(FORMS) * len(BUILT)


@pytest.mark.parametrize("case_id", REFUSED)
def test_policy_of_a_tool_case_does_not_load_and_says_where(tmp_path, case_id):
    load_policy_set(write_set(tmp_path / "good"))
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path / "bad", REFUSED[case_id]))
    problem = caught.value.problems[0]
    assert (problem.code, problem.line > 0, problem.column > 0) == (CASES[case_id].load, True, True)


@pytest.mark.parametrize("case_id", RECEIVED)
async def test_receiver_answers_events_as_the_case_says(case_id):
    (expect,) = CASES[case_id].rows
    async with case_rig(CALLED_BACK) as rig, receiver(rig) as send:
        answers = await RECEIVED[case_id](rig, send)
    assert {answer.status for answer in answers} == {expect.http}
    codes = [json.loads(answer.body) for answer in answers if answer.body]
    errors = [code.get("err") or code.get("error") for code in codes]
    wanted = expect.error.split(" / ") if expect.error else []
    assert errors == (wanted if len(wanted) > 1 else wanted * len(answers))


async def test_authentication_that_always_allows_fails_every_negative_token_case(monkeypatch):
    async def allow(*_: object, **__: object) -> Principal:
        return MAY_DO_ANYTHING

    monkeypatch.setattr(TokenGate, "authenticate", allow)
    monkeypatch.setattr(TokenGate, "confirm_signed", allow)
    negative = [case for case in BUILT if case.area and case.is_negative]
    assert (await Replay().run(negative)).disagreed_ids == {case.id for case in negative}


async def test_authentication_that_always_denies_fails_every_positive_case(monkeypatch):
    async def deny(*_: object, **__: object) -> Deny:
        return Deny(Reason.ACCESS_TOKEN_INVALID)

    monkeypatch.setattr(TokenGate, "authenticate", deny)
    positive = [case for case in BUILT if case.is_positive]
    assert (await Replay().run(positive)).disagreed_ids == {case.id for case in positive}


async def test_verdict_that_always_allows_fails_every_negative_case(monkeypatch):
    async def allow(*_: object) -> Allow:
        return Allow(handoff={}, forward_token=False)

    monkeypatch.setattr(AuthorizationServicer, "_decide", allow)
    negative = [case for case in BUILT if case.is_negative]
    assert (await Replay().run(negative)).disagreed_ids == {case.id for case in negative}
