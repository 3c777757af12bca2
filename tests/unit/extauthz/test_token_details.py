"""A consent grants one amount: as decimals, exactly, in every currency, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.model import Deny, Principal
from extauthz.tokens.details import PaymentGrant
from policy.money import MAX_AMOUNT_MINOR, minor_unit_exponent
from policy.schema.routes import AuthorizationDetails

POLICY = AuthorizationDetails(type="payment_initiation", actions=("go",), creditor={"payee.account": "/to"})
AMOUNTS = st.integers(0, MAX_AMOUNT_MINOR)
CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF"])


def refusal(
    details: Any, *, minor: int = 12350, currency: str = "EUR", policy: AuthorizationDetails = POLICY
) -> Deny | None:
    grant = PaymentGrant.compile(policy, frozenset({"https://api.example"}))
    assert grant is not None
    principal = Principal("https://as.example", "u", "c", frozenset(), {"authorization_details": details}, 0.0, 1.0)
    payment = {"payment.amount.minor_units": minor, "payment.amount.currency": currency, "payee.account": "X"}
    return grant.refusal(principal, payment)


def detail(amount: Any = "123.50", currency: Any = "EUR", **changes: Any) -> dict[str, Any]:
    instructed = {"amount": amount, "currency": currency}
    return {"type": "payment_initiation", "actions": ["go"], "instructedAmount": instructed, "to": "X", **changes}


def written(minor: int, currency: str) -> str:
    return f"{Decimal(minor).scaleb(-(minor_unit_exponent(currency) or 0)):f}"


@given(AMOUNTS, CURRENCIES)
def test_amount_is_granted_in_its_own_currency(minor, currency):
    assert refusal([detail(written(minor, currency), currency)], minor=minor, currency=currency) is None


@given(AMOUNTS, AMOUNTS, CURRENCIES, CURRENCIES)
def test_no_other_amount_or_currency_is_granted(minor, other, currency, other_currency):
    if (minor, currency) != (other, other_currency):
        assert refusal([detail(written(minor, currency), currency)], minor=other, currency=other_currency) is not None


@pytest.mark.parametrize(
    "amount",
    [
        *("0123.50", "+123.50", "-123.50", "123,50", "123.", ".5", "1_23.50", " 123.50", "123.50\n", "\uff1123.50"),
        *("12350e-2", "", "9" * 19, None, True, ["123.50"]),
        *(Decimal("123.500000000000000000000000000001"), Decimal("1E+999999")),
    ],
)
def test_amount_in_another_spelling_grants_nothing(amount):
    assert refusal([detail(amount)]) is not None


def test_amount_of_one_is_not_true():
    assert refusal([detail(True)], minor=100) is not None
    assert refusal([detail(1)], minor=100) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_any_other_content_grants_nothing_and_fails_nowhere(value):
    assert refusal(value) is not None
    assert refusal([value]) is not None
    for member in ("type", "actions", "locations", "instructedAmount", "to"):
        if value not in (detail().get(member), ["go"], "X"):
            assert refusal([detail(**{member: value})]) is not None


def test_location_that_policy_names_must_be_granted():
    named = AuthorizationDetails(**{**POLICY.model_dump(), "locations": ("https://named.example",)})
    assert refusal([detail()], policy=named) is not None
    assert refusal([detail(locations=["https://api.example"])], policy=named) is not None
    assert refusal([detail(locations=["https://named.example"])], policy=named) is None
    assert refusal([detail(locations=["https://api.example"])]) is None


@pytest.mark.parametrize(
    ("details", "part"),
    [
        ([], "type"),
        ([None, {}, detail(type="x")], "type"),
        ([detail(actions=["x"]), detail(type="x")], "actions"),
        ([detail(locations=["x"])], "locations"),
        ([detail("1.00"), detail(actions=["x"])], "amount or currency"),
        ([detail("1.00"), detail(to="Y")], "creditor"),
    ],
)
def test_operator_is_told_what_is_amiss_in_the_nearest_member(details, part):
    refused = refusal(details)
    assert refused is not None
    assert refused.detail == f"no authorization detail grants this payment: {part} differs"
