"""Rules of risk.yaml that ask for a step-up: who shows it pays, who does not is told what to show."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from helpers.issuer import SigningKey
from helpers.services import gate, payment, reason_of
from helpers.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("ES256", "k1")
RULES = """\
rules:
  - id: strong_above_30_euro
    owner: risk-operations
    mode: enforce
    action: step_up
    step_up: { acr_values: [urn:sca] }
    when: payment.amount.minor_units > 3000
    reason: Strong customer authentication
  - id: fresh_above_100_euro
    owner: risk-operations
    mode: enforce
    action: step_up
    step_up: { max_age_seconds: 300 }
    when: payment.amount.minor_units > 10000
    reason: The payer must be there
  - id: looked_at_above_30_euro
    owner: risk-operations
    mode: enforce
    action: review
    when: payment.amount.minor_units > 3000
    reason: Looked at
  - id: strong_always
    owner: risk-operations
    mode: shadow
    action: step_up
    step_up: { acr_values: [urn:sca:strong] }
    when: "true"
    reason: To be seen in the records first
  - id: declined_above_200_euro
    owner: risk-operations
    mode: enforce
    action: decline
    when: payment.amount.minor_units > 20000
    reason: Too much
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with gate(tmp_path_factory.mktemp("gate"), KEY, ("risk.yaml", "rules:\n", RULES)) as service:
        yield service


def amount(minor_units):
    return payment(amount={"minor_units": minor_units, "currency": "EUR"})


async def challenge(running, minor_units, **claims):
    response = await running.check(running.token(**claims), body=amount(minor_units))
    headers = {each.header.key: each.header.value for each in response.denied_response.headers}
    return reason_of(response), headers.get("www-authenticate", "")


async def test_payment_that_no_rule_is_about_needs_no_step_up(running):
    assert (await challenge(running, 3000, acr="pwd"))[0] == "allow"


async def test_step_up_is_asked_for_and_then_enough(running):
    reason, asked = await challenge(running, 3001, acr="pwd")
    assert reason == "step_up_required"
    assert 'error="insufficient_user_authentication"' in asked
    assert 'acr_values="urn:sca"' in asked
    assert "max_age" not in asked
    response = await running.check(running.token(acr="urn:sca"), body=amount(3001))
    assert reason_of(response) == "allow"
    assert {each.header.key for each in response.ok_response.headers} == {"x-tollhouse-review"}


async def test_every_step_up_that_is_not_met_refuses(running):
    now = int(SystemClock().wall())
    assert (await challenge(running, 10001, acr="urn:sca", auth_time=now - 10))[0] == "allow"
    assert 'max_age="300"' in (await challenge(running, 10001, acr="urn:sca", auth_time=now - 900))[1]
    assert 'acr_values="urn:sca"' in (await challenge(running, 10001, acr="pwd", auth_time=now - 10))[1]
    assert 'max_age="300"' in (await challenge(running, 10001, acr="urn:sca"))[1]


async def test_client_without_a_user_is_not_sent_round_in_circles(running):
    reason, asked = await challenge(running, 3001)
    assert reason == "user_required"
    assert 'error="insufficient_scope"' in asked


async def test_decline_outweighs_a_step_up_and_names_no_way_round(running):
    assert await challenge(running, 20001, acr="pwd") == ("payment-blocked", "")
    assert (await challenge(running, 20001, acr="urn:sca"))[0] == "payment-blocked"


async def test_record_names_the_rules_that_asked(running):
    await challenge(running, 3002, acr="pwd")

    def records():
        lines = running.log.read_text().splitlines() if running.log.exists() else []
        return [each for each in map(json.loads, lines) if each.get("amount_minor") == "3002"]

    await until(records)
    (record,) = records()
    assert record["rules"] == ["strong_above_30_euro", "looked_at_above_30_euro"]
    assert record["shadow_rules"] == ["strong_always"]
    assert record["reason"] == "step_up_required"
