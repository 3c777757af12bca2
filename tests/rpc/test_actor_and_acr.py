"""How a user authenticated and who acts for them: rules may read it, and the record says it, masked."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from helpers.issuer import SigningKey
from helpers.services import gate, payment, reason_of
from helpers.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("ES256", "k1")
CARD = "4111111111111111"
RULES = """\
rules:
  - id: weakly_authenticated
    owner: risk-operations
    mode: enforce
    action: decline
    when: present("auth.acr") && auth.acr == "urn:weak"
    reason: Too weak
  - id: wallet_pays_on
    owner: risk-operations
    mode: enforce
    action: decline
    when: present("auth.actor") && auth.actor == "wallet-2"
    reason: Not this wallet
"""
CHANGES = (
    ("risk.yaml", "rules:\n", RULES),
    (
        "routes.yaml",
        "    merchant: { claim: /merchant_id } # who the token says the merchant is; the body must say the same\n",
        "    merchant: { claim: /merchant_id }\n"
        f'    actor: {{ allow: [{{ sub: wallet-1 }}, {{ sub: wallet-2 }}, {{ sub: "{CARD}" }}] }}\n',
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with gate(tmp_path_factory.mktemp("gate"), KEY, *CHANGES) as service:
        yield service


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({}, "allow", id="nothing said"),
        pytest.param({"acr": "urn:strong"}, "allow", id="strong"),
        pytest.param({"acr": "urn:weak"}, "payment-blocked", id="weak"),
        pytest.param({"acr": ["urn:weak"]}, "allow", id="not text, so not said"),
        pytest.param({"act": {"sub": "wallet-1"}}, "allow", id="an actor"),
        pytest.param({"act": {"sub": "wallet-2"}}, "payment-blocked", id="the actor of the rule"),
        pytest.param({"act": {"sub": "wallet-1", "act": {"sub": "wallet-2"}}}, "allow", id="the outermost one counts"),
    ],
)
async def test_rules_read_what_the_token_says(running, claims, reason):
    assert reason_of(await running.check(running.token(**claims), body=payment())) == reason


async def test_record_says_both_and_masks_what_looks_like_a_card(running):
    await running.check(running.token(acr="urn:seen", act={"sub": "wallet-1"}), body=payment())
    await running.check(running.token(acr="urn:masked", act={"sub": CARD}), body=payment())

    def records():
        lines = running.log.read_text().splitlines() if running.log.exists() else []
        return {record["acr"]: record for record in map(json.loads, lines) if "acr" in record}

    await until(lambda: {"urn:seen", "urn:masked"} <= records().keys())
    assert records()["urn:seen"]["actor"] == "wallet-1"
    assert CARD not in running.log.read_text()
