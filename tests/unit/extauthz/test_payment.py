"""A payment is read out of a body strictly, or the body is refused."""

from __future__ import annotations

import orjson
import pytest

from extauthz.model import Deny
from extauthz.payment import BodyReader, Payment
from extauthz.reasons import Reason
from helpers.requests import authz_request
from policy.schema.profiles import Profile

PROFILE = Profile.model_validate(
    {
        "profile": "generic",
        "attributes": {
            "payment.amount.minor_units": {"pointer": "/amount/minor_units"},
            "payment.amount.currency": {"pointer": "/amount/currency"},
            "merchant.id": {"pointer": "/merchant_id"},
            "card.country": {"pointer": "/card/country"},
            "card.bin": {"pointer": "/card/bin"},
            "payment.reference": {"pointer": "/references/0"},
        },
    }
)
READER = BodyReader(PROFILE, moves_money=True)
PAYMENT = {"merchant_id": "m_1", "amount": {"minor_units": 1250, "currency": "EUR"}}


def read(body, **changes):
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"content-type": "application/json", **changes.pop("headers", {})}
    return READER.read(authz_request(body=data, headers=headers, **changes))


def test_payment_is_read_and_what_the_body_lacks_is_left_out():
    body = {**PAYMENT, "card": {"country": "DE", "bin": None}, "references": ["order-7"]}
    assert read(body).attributes == {
        "payment.amount.minor_units": 1250,
        "payment.amount.currency": "EUR",
        "merchant.id": "m_1",
        "card.country": "DE",
        "payment.reference": "order-7",
    }


def amount(value):
    return {**PAYMENT, "amount": {"minor_units": value, "currency": "EUR"}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"merchant_id": "m_1"}, Reason.AMOUNT_MISSING, id="no amount object"),
        pytest.param(amount(None), Reason.AMOUNT_MISSING, id="a null amount is no amount"),
        pytest.param(amount(-1), Reason.AMOUNT_INVALID, id="negative"),
        pytest.param(amount(True), Reason.AMOUNT_INVALID, id="a boolean is no integer"),
        pytest.param(amount("100"), Reason.AMOUNT_INVALID, id="text is no integer"),
        pytest.param(amount(2**53), Reason.AMOUNT_INVALID, id="above what the store counts exactly"),
        pytest.param(b'{"merchant_id":"m_1","amount":{"minor_units":100.0,"currency":"EUR"}}', Reason.AMOUNT_INVALID,
                     id="a fraction"),
        pytest.param(b'{"merchant_id":"m_1","amount":{"minor_units":1e3,"currency":"EUR"}}', Reason.AMOUNT_INVALID,
                     id="an exponent"),
        pytest.param(b'{"merchant_id":"m_1","amount":{"minor_units":1,"minor_units":9,"currency":"EUR"}}',
                     Reason.BODY_UNREADABLE, id="a duplicate key"),
        pytest.param({**PAYMENT, "amount": {"minor_units": 1, "currency": "eur"}}, Reason.CURRENCY_INVALID,
                     id="lower case currency"),
        pytest.param({**PAYMENT, "amount": {"minor_units": 1, "currency": "XAU"}}, Reason.CURRENCY_INVALID,
                     id="a currency without minor units"),
        pytest.param({**PAYMENT, "amount": {"minor_units": 1}}, Reason.CURRENCY_INVALID, id="no currency"),
        pytest.param({**PAYMENT, "amount": 5}, Reason.AMOUNT_INVALID, id="the amount is no object"),
        pytest.param({"amount": PAYMENT["amount"]}, Reason.ATTRIBUTE_INVALID, id="no merchant"),
        pytest.param({**PAYMENT, "card": {"country": "de"}}, Reason.ATTRIBUTE_INVALID, id="lower case country"),
        pytest.param({**PAYMENT, "card": {"bin": "4111111111111111"}}, Reason.ATTRIBUTE_INVALID,
                     id="a card number where a bin belongs"),
        pytest.param({**PAYMENT, "card": "x"}, Reason.ATTRIBUTE_INVALID, id="card is no object"),
        pytest.param({**PAYMENT, "references": ["a\x00b"]}, Reason.ATTRIBUTE_INVALID, id="a control character"),
        pytest.param([PAYMENT], Reason.BODY_UNREADABLE, id="an array"),
        pytest.param(b"", Reason.BODY_UNREADABLE, id="no body"),
        pytest.param(b'{"a":1} x', Reason.BODY_UNREADABLE, id="trailing bytes"),
        pytest.param(b"\xff\xfe{\x00}\x00", Reason.BODY_UNREADABLE, id="UTF-16"),
    ],
)  # fmt: skip
def test_body_that_could_be_read_otherwise_is_refused(body, reason):
    refusal = read(body)
    assert isinstance(refusal, Deny)
    assert refusal.reason is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"body_is_partial": True},
        {"headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"headers": {"content-type": "application/json; charset=utf-16"}},
        {"headers": {"content-type": "application/json,text/plain"}},
        {"headers": {"content-encoding": "gzip"}},
    ],
)
def test_body_in_another_coding_or_cut_off_is_refused(changes):
    refusal = read(PAYMENT, **changes)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.BODY_UNREADABLE
    assert isinstance(read(PAYMENT, headers={"content-type": 'application/json; charset="UTF-8"'}), Payment)
