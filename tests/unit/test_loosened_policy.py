"""A reload that lets more through says so, one sentence each; a tighter or equal one is silent."""

from __future__ import annotations

import pytest

import extauthz.changes
import ratelimit.changes
from helpers.services import copy_policies, edit
from helpers.vouched import vouched_policies
from policy.loader import load_policy_set


def sentences(tmp_path, file, old, new):
    policies = copy_policies(tmp_path / "policies")
    before = load_policy_set(policies)
    edit(policies / file, old, new)
    after = load_policy_set(policies)
    return [*extauthz.changes.loosened(before, after), *ratelimit.changes.loosened(before, after)]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("quotas.yaml", "m_daily: 10000", "m_daily: 20000", "merchant m_daily: the limit went from 10000 to 20000"),
        ("quotas.yaml", "      m_rate: 2\n", "", "merchant m_rate: the limit 2 was removed"),
        ("quotas.yaml", "limit: 500000", "limit: 500001", "single_payment_eur: the limit went from 500000 to 500001"),
        ("quotas.yaml", "standard: 5000000", "standard: 6000000", "tier standard: the limit went from 5000000"),
        (
            "quotas.yaml",
            "    on_store_failure: deny # refunds are a way out for stolen money",
            "    on_store_failure: allow",
            "refunds_per_day now allows when the store is away",
        ),
        (
            "quotas.yaml",
            "limit: 2000\n",
            "limit: 2000\n    mode: shadow\n",
            "refunds_per_day went from enforce to shadow",
        ),
        (
            "quotas.yaml",
            "limit: 100000\n",
            "limit: 100000\n    unlimited: {m_active: {owner: a, reason: b}}\n",
            "payments_per_day no longer limits merchant m_active",
        ),
        (
            "risk.yaml",
            "owner: compliance\n    mode: enforce",
            "owner: compliance\n    mode: shadow",
            "went from enforce",
        ),
        ("risk.yaml", "action: decline", "action: review", "went from decline to review"),
        (
            "risk.yaml",
            "action: decline",
            "action: step_up\n    step_up: { acr_values: [a] }",
            "went from decline to step_up",
        ),
        ("risk.yaml", '"SY", "CU"]\n    reason: The card', '"SY"]\n    reason: The card', "has another condition"),
        (
            "merchants.yaml",
            "  - id: m_suspended",
            "  - id: m_suspended_no_more",
            "merchants were added: m_suspended_no_more",
        ),
        (
            "routes.yaml",
            "scopes: [payments:refund]",
            "scopes: [payments:write]",
            "no longer needs scope payments:refund",
        ),
        (
            "routes.yaml",
            "    moves_money: false\n",
            "    moves_money: false\n    forward_token: true\n",
            "read_payment now forwards the access token",
        ),
        (
            "quotas.yaml",
            "payments_per_card_per_day\n    owner: risk-operations\n    metric: count\n    interval: daily\n",
            "payments_per_card_per_day\n    owner: risk-operations\n    metric: count\n    interval: per_second\n",
            "payments_per_card_per_day counts something else: count per_second per card",
        ),
        (
            "profiles/generic.yaml",
            "card_number: { pointer: /card/number }",
            "card_number: { pointer: /card/pan }",
            "profile generic reads card numbers from another place",
        ),
        (
            "profiles/generic.yaml",
            "merchant.id: { pointer: /merchant_id,",
            "merchant.id: { pointer: /shop,",
            "profile generic reads merchant.id from another place",
        ),
        (
            "profiles/generic.yaml",
            "  payee.account: { pointer: /payee/account }\n",
            "",
            "profile generic no longer reads payee.account",
        ),
        (
            "profiles/generic.yaml",
            "/amount/currency, required: true",
            "/amount/currency",
            "profile generic no longer requires payment.amount.currency",
        ),
        (
            "routes.yaml",
            "merchant: { claim: /merchant_id } # who",
            "merchant: { claim: /shop } # who",
            "create_payment takes the merchant from another claim, /shop",
        ),
        ("routes.yaml", "path: /v1/payments\n", "path: /v2/payments\n", "create_payment is now reached in another way"),
        ("routes.yaml", "  - 127.0.0.1\n", "  - 127.0.0.2\n", "refund_payment is now reached in another way"),
        ("merchants.yaml", "tier: standard", "tier: premium", "went from tier standard to premium"),
        ("providers.yaml", "      - ES256", "      - ES256\n      - PS256", "accepts algorithm PS256"),
        ("providers.yaml", "leeway_seconds: 30", "leeway_seconds: 60", "accepts tokens 60 s past their end"),
    ],
)
def test_loosening_is_said(tmp_path, file, old, new, said):
    assert any(said in sentence for sentence in sentences(tmp_path, file, old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("quotas.yaml", "m_daily: 10000", "m_daily: 9000"),
        ("quotas.yaml", "m_rate: 2", "m_rate: 1"),
        ("risk.yaml", "mode: shadow", "mode: enforce"),
        ("providers.yaml", "      - ES256\n", ""),
        ("profiles/generic.yaml", "payment.reference: { pointer", "payment.reference: { required: true, pointer"),
        ("routes.yaml", "  - 127.0.0.1\n", ""),
        ("quotas.yaml", "# Every quota", "# every quota"),
    ],
)
def test_tightening_is_silent(tmp_path, file, old, new):
    assert sentences(tmp_path, file, old, new) == []


def test_removed_quota_and_removed_rule_are_said(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    before = load_policy_set(policies)
    for file, start in (("quotas.yaml", "  - id: amount_per_day_trial"), ("risk.yaml", "  - id: old_access_token")):
        text = (policies / file).read_text()
        (policies / file).write_text(text[: text.index(start)])
    after = load_policy_set(policies)
    assert ratelimit.changes.loosened(before, after) == ["quota amount_per_day_trial was removed"]
    assert extauthz.changes.loosened(before, after) == ["risk rule old_access_token was removed"]


def test_many_new_merchants_share_lines_that_name_each_one(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    before = load_policy_set(policies)
    entry = "  - {id: m_%d, name: Shop, status: active, tier: standard, time_zone: Europe/Berlin}\n"
    names = [f"m_{number}" for number in range(250)]
    with (policies / "merchants.yaml").open("a") as file:
        file.writelines(entry % number for number in range(250))
    said = extauthz.changes.loosened(before, load_policy_set(policies))
    assert len(said) == 3
    assert [name for line in said for name in line.removeprefix("merchants were added: ").split(", ")] == names


def test_card_quota_that_lets_payments_without_a_card_pass_is_said(tmp_path):
    written = "    without: # taken out, a payment without a card number is refused (card_missing)\n"
    written += "      owner: risk-operations\n"
    written += "      reason: bank transfers have no card; the quotas of the merchant still count them\n"
    tightened = sentences(tmp_path / "tighter", "quotas.yaml", written, "")
    assert tightened == []
    policies = copy_policies(tmp_path / "looser")
    after = load_policy_set(policies)
    edit(policies / "quotas.yaml", written, "")
    said = ratelimit.changes.loosened(load_policy_set(policies), after)
    assert said == ["quota payments_per_card_per_day no longer counts payments without what it counts by"]


def test_signatures_left_to_envoy_are_said(tmp_path):
    before, after = copy_policies(tmp_path / "before"), vouched_policies(tmp_path / "after")
    ours, envoys = load_policy_set(before), load_policy_set(after)
    (said,) = extauthz.changes.loosened(ours, envoys)
    assert "takes Envoy's word for the signatures of its tokens" in said
    assert not list(extauthz.changes.loosened(envoys, ours))
