"""Claim rules, one by one (RFC 9068 section 2.2)."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.model import Deny, Principal
from extauthz.reasons import Reason
from extauthz.tokens.claims import VerifiedToken, numeric_date, read_verified, recheck
from extauthz.tokens.scopes import require_scopes
from helpers.issuer import AUDIENCE, NOW, good_claims
from helpers.token_rig import providers

ISSUER = "https://as.example.test"
PROVIDER = providers(ISSUER)[0]
LEEWAY = 60


def _read(now: float = NOW, **overrides: object) -> VerifiedToken | Deny:
    return read_verified(good_claims(ISSUER, NOW, **overrides), "at+jwt", PROVIDER, now)


def _principal(**overrides: object) -> Principal:
    token = _read(**overrides)
    assert isinstance(token, VerifiedToken)
    return token.principal


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"aud": [AUDIENCE]},
        {"aud": ["https://other.test", AUDIENCE]},
        {"nbf": NOW + LEEWAY},
        {"iat": NOW + LEEWAY, "exp": NOW + 600},
        {"exp": Decimal("1700000000.5"), "iat": NOW - 10},
        {"iat": Decimal("1699999999.9")},
        {"iat": NOW, "exp": NOW + 86400},
        {"scope": None},
        {"scope": ""},
        {"auth_time": "junk is not read", "act": {"sub": "x"}},
    ],
)
def test_good_claims_yield_a_principal(overrides):
    assert isinstance(_read(**overrides), VerifiedToken)


@pytest.mark.parametrize("claim", ["iss", "exp", "iat", "aud", "sub", "client_id", "jti"])
def test_missing_claim_is_invalid(claim):
    _assert_denied(_read(**{claim: None}), Reason.ACCESS_TOKEN_INVALID)


@pytest.mark.parametrize(
    "overrides",
    [
        {"exp": "1700000600"},
        {"exp": True},
        {"exp": -1},
        {"exp": Decimal("1e300")},
        {"exp": [NOW + 600]},
        {"exp": NOW, "iat": NOW},
        {"exp": NOW + 30 * 86400},
        {"iat": "1700000000"},
        {"iat": False},
        {"iat": NOW + LEEWAY + 1},
        {"nbf": NOW + LEEWAY + 1},
        {"nbf": "x"},
        {"nbf": True},
        {"aud": [AUDIENCE, 1]},
        {"aud": 5},
        {"aud": {AUDIENCE: 1}},
        {"aud": [AUDIENCE] * 101},
        {"sub": ""},
        {"sub": 5},
        {"sub": "x" * 513},
        {"client_id": ["shop-1"]},
        {"jti": 1},
        {"scope": ["payments:write"]},
        {"scope": 5},
        {"scope": 'a"b'},
        {"scope": "a\tb"},
        {"scope": "a\u00e9"},
        {"cnf": {"jkt": "x"}},
        {"iss": ISSUER + "/"},
    ],
    ids=str,
)
def test_broken_claim_is_invalid(overrides):
    _assert_denied(_read(**overrides), Reason.ACCESS_TOKEN_INVALID)


def test_expiry_counts_from_exp_plus_leeway():
    assert isinstance(_read(now=NOW + 600 + LEEWAY - 0.5), VerifiedToken)
    _assert_denied(_read(now=NOW + 600 + LEEWAY), Reason.ACCESS_TOKEN_EXPIRED)


@pytest.mark.parametrize("audience", ["", AUDIENCE.upper(), AUDIENCE + ".evil.test", "https://pay.example", []])
def test_other_audience_has_its_own_reason(audience):
    _assert_denied(_read(aud=audience), Reason.ACCESS_TOKEN_AUDIENCE)


def test_recheck_sees_time_and_policy_move():
    token = _read(nbf=NOW - 10)
    assert isinstance(token, VerifiedToken)
    assert recheck(token, PROVIDER, NOW) is None
    _assert_denied(recheck(token, PROVIDER, NOW + 700), Reason.ACCESS_TOKEN_EXPIRED)
    _assert_denied(recheck(token, PROVIDER, NOW - 1000), Reason.ACCESS_TOKEN_INVALID)
    elsewhere = providers(ISSUER, audiences=("https://other.test",))[0]
    _assert_denied(recheck(token, elsewhere, NOW), Reason.ACCESS_TOKEN_AUDIENCE)


def test_claims_of_a_principal_are_read_only():
    principal = _principal()
    with pytest.raises(TypeError):
        principal.claims["sub"] = "x"


def test_client_id_claim_of_the_provider_is_used():
    provider = providers(ISSUER, client_id_claim="azp")[0]
    token = read_verified(good_claims(ISSUER, NOW, client_id=None, azp="shop-2"), "at+jwt", provider, NOW)
    assert isinstance(token, VerifiedToken)
    assert token.principal.client_id == "shop-2"


@given(value=st.none() | st.booleans() | st.integers() | st.decimals() | st.text() | st.floats() | st.lists(st.none()))
def test_numeric_date_is_a_finite_number_in_range_or_none(value):
    if isinstance(value, Decimal) and not value.is_finite():
        return
    date = numeric_date(value)
    assert date is None or (math.isfinite(date) and 0 <= date < 1e12)


@pytest.mark.parametrize("required", [("payments:write",), ("payments:read", "payments:write"), ()])
def test_scopes_that_are_there_pass(required):
    assert require_scopes(_principal(), required) is None


@pytest.mark.parametrize("required", ["payments", "payments:writer", "PAYMENTS:WRITE", "payments:write payments:read"])
def test_scopes_are_compared_as_whole_names(required):
    decision = require_scopes(_principal(), (required,))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.SCOPE_INSUFFICIENT


def test_missing_scope_is_challenged_with_all_required_ones():
    decision = require_scopes(_principal(scope="payments:read"), ("payments:read", "payments:write"))
    assert isinstance(decision, Deny)
    assert decision.challenge is not None
    assert (decision.challenge.error, decision.challenge.scope) == (
        "insufficient_scope",
        "payments:read payments:write",
    )


def _assert_denied(decision: object, reason: Reason) -> None:
    assert isinstance(decision, Deny)
    assert decision.reason is reason
    assert decision.challenge is not None
    assert decision.challenge.error == "invalid_token"
