"""A reload that asks less of tokens says so; one that asks more is silent."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import write_set
from policy.loader import load_policy_set

PAY = "    moves_money: true\n"
CONSENT = "    authorization_details: {type: payment_initiation, actions: [go], creditor: {payee.account: /to}}\n"
PAYEE = ("profiles/plain.yaml", "attributes:\n", "attributes:\n  payee.account: {pointer: /to}\n")
USER, STRONG = "    caller: user\n", "    step_up: {acr_values: [a]}\n"
FRESH = "    step_up: {acr_values: [a], max_age_seconds: 60}\n"
ONE_ACTOR, TWO_ACTORS = "    actor: {allow: [{sub: a}]}\n", "    actor: {allow: [{sub: a}, {sub: b}]}\n"
NEEDED_ACTOR = "    actor: {allow: [{sub: a}], required: true}\n"
KEYED, ONCE = "    idempotency: {mode: required}\n", "    idempotency: {mode: upstream_enforced}\n"
CLAIM = "    merchant: {claim: /merchant_id}\n    moves_money: true\n"
CLAIMS = "    merchant: {claim: /merchant_id, other_claims: [/m]}\n    moves_money: true\n"
PICKED = "    merchant: {claim: /merchant_id, several: body_picks}\n    moves_money: true\n"


def change(tmp_path, before: str, after: str) -> list[str]:
    sets = []
    for name, text in (("before", before), ("after", after)):
        changes = [PAYEE]
        if text:
            changes.append(("routes.yaml", CLAIM, text if text.endswith(PAY) else CLAIM + text))
        sets.append(load_policy_set(write_set(tmp_path / name, *changes)))
    return loosened(*sets)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (USER, "", "no longer needs a user"),
        (STRONG, "", "no longer asks for step-up"),
        (FRESH, STRONG, "has another step-up"),
        ("", ONE_ACTOR, "lets a act for others"),
        (ONE_ACTOR, TWO_ACTORS, "lets b act for others"),
        (NEEDED_ACTOR, ONE_ACTOR, "no longer needs an actor"),
        (CONSENT, "", "no longer asks for consent"),
        ("", ONCE, "counts a repeat on one idempotency key once"),
        (KEYED, ONCE, "counts a repeat on one idempotency key once"),
        (ONCE, "", "no longer needs an idempotency key"),
        (CONSENT, CONSENT.replace("/to}", "/other}"), "compares authorization_details otherwise"),
        ("", CLAIMS, "takes the merchant from further claims"),
        ("", PICKED, "lets the body pick among the merchants of a token"),
    ],
)
def test_loosening_is_one_sentence_about_the_operation(tmp_path, before, after, said):
    (sentence,) = change(tmp_path, before, after)
    assert sentence.startswith(f"operation pay {said}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", USER),
        ("", STRONG),
        (ONE_ACTOR, ""),
        (TWO_ACTORS, ONE_ACTOR),
        (ONE_ACTOR, NEEDED_ACTOR),
        ("", CONSENT),
        (CLAIMS, ""),
        (PICKED, ""),
    ],
)
def test_tightening_is_silent(tmp_path, before, after):
    assert change(tmp_path, before, after) == []
