"""What routes.yaml asks of a token, over the service as it runs: real tokens in, Envoy's answers out."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from helpers.issuer import SigningKey
from helpers.services import AUDIENCE, gate, payment, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("ES256", "k1")
PAYEE = "DE02120300000000202051"
DEMANDS = """\
    profile: generic
    caller: user
    step_up: { acr_values: [urn:sca, urn:sca:strong], max_age_seconds: 300 }
    actor: { allow: [{ sub: gateway-1 }, { sub: wallet-1, issuer: https://wallets.example }] }
    authorization_details:
      type: payment_initiation
      actions: [initiate]
      creditor: { payee.account: /creditorAccount/iban }
  - operation: read_payment
"""
CHANGES = (
    ("routes.yaml", "    profile: generic\n  - operation: read_payment\n", DEMANDS),
    (
        "routes.yaml",
        "    scopes: [payments:refund] # not payments:write: who may charge may not always pay back\n"
        "    merchant: { claim: /merchant_id }",
        "    scopes: [payments:refund]\n"
        "    step_up: { acr_values: [urn:sca] }\n"
        '    merchant: { claim: /merchant_id, other_claims: ["/https:~1~1claims.example~1merchant"] }',
    ),
)


def detail(**changes):
    granted = {
        "type": "payment_initiation",
        "actions": ["initiate", "status"],
        "locations": [AUDIENCE],
        "instructedAmount": {"amount": "123.50", "currency": "EUR"},
        "creditorAccount": {"iban": PAYEE},
        **changes,
    }
    return {name: value for name, value in granted.items() if value is not None}


def consented(*details, **claims):
    now = int(SystemClock().wall())
    return {
        "authorization_details": list(details) or [detail()],
        "acr": "urn:sca",
        "auth_time": now - 60,
        **claims,
    }


def transfer(minor_units=12350, currency="EUR", account=PAYEE, **changes):
    return payment(amount={"minor_units": minor_units, "currency": currency}, payee={"account": account}, **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with gate(tmp_path_factory.mktemp("gate"), KEY, *CHANGES) as service:
        yield service


async def answer(running, body=None, **claims):
    """Return the reason, the status and the challenge."""
    body = transfer() if body is None else body
    response = await running.check(running.token(**claims), body=body)
    headers = {each.header.key: each.header.value for each in response.denied_response.headers}
    return reason_of(response), response.denied_response.status.code, headers.get("www-authenticate", "")


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({}, id="the consented payment"),
        pytest.param(
            {"authorization_details": [detail(instructedAmount={"amount": "123.5", "currency": "EUR"})]},
            id="a decimal with fewer places",
        ),
        pytest.param(
            {"authorization_details": [detail(instructedAmount={"amount": 123.5, "currency": "EUR"})]},
            id="a JSON number",
        ),
        pytest.param({"authorization_details": [{"type": "other"}, detail()]}, id="beside an unknown type"),
        pytest.param({"authorization_details": [detail(locations=None)]}, id="without a location"),
        pytest.param({"act": {"sub": "gateway-1", "act": {"sub": "anybody"}}}, id="an allowed actor outermost"),
        pytest.param({"act": {"sub": "wallet-1", "iss": "https://wallets.example"}}, id="an actor of another issuer"),
        pytest.param({"acr": "urn:sca:strong"}, id="the second acr"),
    ],
)
async def test_token_that_says_all_of_it_passes(running, claims):
    assert (await answer(running, **consented(**claims)))[0] == "allow"


@pytest.mark.parametrize(
    ("claims", "body"),
    [
        pytest.param({}, transfer(12351), id="one cent more"),
        pytest.param({}, transfer(12349), id="one cent less"),
        pytest.param({}, transfer(currency="USD"), id="another currency"),
        pytest.param({}, transfer(123500, "KWD"), id="the same number in a currency of three places"),
        pytest.param({}, transfer(account="DE02120300000000202052"), id="another creditor"),
        pytest.param({}, payment(amount={"minor_units": 12350, "currency": "EUR"}), id="no creditor"),
        pytest.param({"authorization_details": None}, None, id="no consent"),
        pytest.param({"authorization_details": detail()}, None, id="a consent that is no list"),
        pytest.param({"authorization_details": ["payment_initiation"]}, None, id="a consent that is text"),
        pytest.param({"authorization_details": [{}] * 100 + [detail()]}, None, id="more consents than are looked at"),
        pytest.param({"authorization_details": [detail(type="account_information")]}, None, id="another type"),
        pytest.param({"authorization_details": [detail(actions=["status"])]}, None, id="another action"),
        pytest.param({"authorization_details": [detail(actions="initiate")]}, None, id="actions as text"),
        pytest.param({"authorization_details": [detail(actions=None)]}, None, id="no actions"),
        pytest.param({"authorization_details": [detail(locations=["https://b.test"])]}, None, id="another API"),
        pytest.param({"authorization_details": [detail(locations=AUDIENCE)]}, None, id="location as text"),
        pytest.param({"authorization_details": [detail(creditorAccount=PAYEE)]}, None, id="creditor of another shape"),
        pytest.param(
            {"authorization_details": [detail(instructedAmount="123.50")]}, None, id="amount of another shape"
        ),
        pytest.param(
            {"authorization_details": [detail(type="x"), detail(instructedAmount=None)]}, None, id="two halves"
        ),
        pytest.param(
            {"authorization_details": [detail(instructedAmount={"amount": "123.50000000000", "currency": "EUR"})]},
            None,
            id="more places than any currency has",
        ),
        pytest.param(
            {"authorization_details": [detail(instructedAmount={"amount": "1.235e2", "currency": "EUR"})]},
            None,
            id="an exponent",
        ),
    ],
)
async def test_payment_without_exactly_this_consent_is_refused(running, claims, body):
    reason, status, challenge = await answer(running, body, **consented(**claims))
    assert (reason, status) == ("authorization_details_insufficient", 403)
    assert 'error="insufficient_scope"' in challenge


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"acr": "pwd"}, id="a weaker acr"),
        pytest.param({"acr": ["urn:sca"]}, id="acr as a list"),
        pytest.param({"acr": None}, id="no acr"),
        pytest.param({"auth_time": int(SystemClock().wall()) - 900}, id="too long ago"),
        pytest.param({"auth_time": int(SystemClock().wall()) + 900}, id="in the future"),
    ],
)
async def test_weak_or_old_authentication_is_asked_to_step_up(running, claims):
    reason, status, challenge = await answer(running, **consented(**claims))
    assert (reason, status) == ("step_up_required", 401)
    assert 'error="insufficient_user_authentication"' in challenge
    assert 'acr_values="urn:sca urn:sca:strong"' in challenge
    assert 'max_age="300"' in challenge
    assert not re.search(r'\bscope="', challenge)


async def test_step_up_names_the_scopes_that_are_missing_too(running):
    reason, _, challenge = await answer(running, **consented(acr="pwd", scope="payments:read"))
    assert reason == "step_up_required"
    assert 'scope="payments:write"' in challenge


async def test_bad_token_is_never_asked_to_step_up(running):
    _, _, challenge = await answer(running, **consented(acr="pwd", aud="https://other.test"))
    assert 'error="invalid_token"' in challenge
    assert "acr_values" not in challenge


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"auth_time": None, "acr": None}, id="nobody authenticated"),
        pytest.param({"auth_time": None}, id="an acr alone"),
        pytest.param({"auth_time": 0}, id="authenticated in 1970"),
        pytest.param({"auth_time": True}, id="a time that is none"),
        pytest.param({"sub": "shop-1"}, id="the client is its own subject"),
    ],
)
async def test_token_of_a_client_alone_is_refused_where_a_user_is_needed(running, claims):
    reason, status, challenge = await answer(running, **consented(**claims))
    assert (reason, status) == ("user_required", 403)
    assert 'error="insufficient_scope"' in challenge


@pytest.mark.parametrize(
    "act",
    [
        pytest.param({"sub": "somebody", "act": {"sub": "gateway-1"}}, id="the allowed actor is an earlier one"),
        pytest.param({"sub": "gateway-1", "iss": "https://other.example"}, id="the name at another issuer"),
        pytest.param({"sub": "wallet-1"}, id="the name of another issuer's actor"),
        pytest.param({"sub": ["gateway-1"]}, id="a list"),
        pytest.param({}, id="nobody"),
        pytest.param("gateway-1", id="text"),
        pytest.param([], id="an empty list"),
    ],
)
async def test_actor_that_is_not_named_is_refused(running, act):
    reason, status, challenge = await answer(running, **consented(act=act))
    assert (reason, status) == ("actor_not_allowed", 403)
    assert 'error="insufficient_scope"' in challenge


async def refund(running, **claims):
    claims = {"scope": "payments:refund", "acr": "urn:sca", **claims}
    response = await running.check(running.token(**claims), path="/v1/payments/p1/refunds")
    return reason_of(response)


async def test_token_of_an_actor_is_refused_where_the_operation_names_none(running):
    assert await refund(running) == "allow"
    assert await refund(running, act={"sub": "gateway-1"}) == "actor_not_allowed"


async def test_step_up_is_not_asked_of_a_client_that_has_no_user(running):
    assert await refund(running, acr=None) == "user_required"
    assert await refund(running, sub="shop-1", acr="pwd") == "user_required"
    assert await refund(running, acr="pwd") == "step_up_required"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("m_active", None, "allow"),
        (None, "m_active", "allow"),
        ("m_active", "m_active", "allow"),
        ("m_active", "m_rate", "merchant_mismatch"),
        (None, ["m_active"], "merchant_mismatch"),
        (None, None, "merchant_mismatch"),
    ],
)
async def test_claims_that_name_the_merchant_must_agree(running, first, second, reason):
    claims = {"https://claims.example/merchant": second}
    assert await refund(running, merchant_id=first, **claims) == reason
