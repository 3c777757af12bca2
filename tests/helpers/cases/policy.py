"""The policy set that the cases are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

CASE_SET = {
    "tollhouse.yaml": """\
version: 1
files: [providers.yaml, routes.yaml, profiles/plain.yaml, profiles/words.yaml, merchants.yaml, quotas.yaml, risk.yaml]
""",
    "providers.yaml": """\
providers:
  - id: main
    issuer: https://as.example.test
    discovery: none
    jwks_uri: ISSUER_URL/jwks
    allow_http: true
    audiences: [https://pay.example.test]
    algorithms: [ES256, PS256, EdDSA, Ed25519]
    dpop: {past_seconds: 60, future_seconds: 10}
    leeway_seconds: 60
signers:
  - keyid: test-key-ed25519
    issuer: https://as.example.test
    client_id: shop-1
    algorithm: ed25519
    key: {kty: OKP, crv: Ed25519, x: JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs}
""",
    "routes.yaml": """\
hosts: [pay.example.test]
operations:
  - operation: create_payment
    method: POST
    path: /v1/payments
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
  - operation: read_payment
    method: GET
    path: /v1/payments/{id}
    scopes: [payments:read]
    merchant: {claim: /merchant_id}
    moves_money: false
  - operation: check_words
    method: POST
    path: /v1/words
    scopes: [payments:read]
    merchant: {claim: /merchant_id}
    moves_money: false
    profile: words
  - operation: shadowed
    method: POST
    path: /v1/shadowed
    scopes: [payments:read]
    merchant: {claim: /merchant_id}
    moves_money: false
    profile: words
  - operation: by_country
    method: POST
    path: /v1/by-country
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
  - operation: signed_payment
    method: POST
    path: /v1/signed-payments
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    message_signature: {}
    moves_money: true
    profile: plain
  - operation: person_payment
    method: POST
    path: /v1/person-payments
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    caller: user
    moves_money: true
    profile: plain
  - operation: machine_payment
    method: POST
    path: /v1/machine-payments
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    cookies: refuse
    moves_money: true
    profile: plain
  - operation: stepped_up
    method: POST
    path: /v1/stepped-up
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
    step_up: {acr_values: [urn:sca]}
  - operation: fresh
    method: POST
    path: /v1/fresh
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
    step_up: {max_age_seconds: 300}
  - operation: risky
    method: POST
    path: /v1/risky
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
  - operation: consented
    method: POST
    path: /v1/consented
    scopes: []
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
    authorization_details:
      type: payment_initiation
      actions: [initiate]
      creditor: {payee.account: /creditorAccount/iban}
  - operation: acted
    method: POST
    path: /v1/acted
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
    actor: {allow: [{sub: gateway-1}]}
  - operation: bound_payment
    method: POST
    path: /v1/bound-payments
    scopes: [payments:write]
    merchant: {claim: /merchant_id}
    sender_constraint: any
    moves_money: true
    profile: plain
  - operation: look
    method: GET
    path: /v1/look
    scopes: [payments:read]
    merchant: {claim: /merchant_id}
    moves_money: false
""",
    "profiles/plain.yaml": """\
profile: plain
attributes:
  merchant.id: {pointer: /merchant_id}
  payment.amount.minor_units: {pointer: /amount}
  payment.amount.currency: {pointer: /currency}
  card.country: {pointer: /country}
  payee.account: {pointer: /to}
""",
    "profiles/words.yaml": """\
profile: words
attributes:
  payment.reference: {pointer: /firstname, required: true}
  payer.id: {pointer: /dept/it, required: true}
""",
    "merchants.yaml": """\
tiers: [small]
merchants:
  - {id: m_100, name: One, status: active, tier: small, time_zone: UTC}
""",
    "quotas.yaml": """\
quotas:
  - {id: daily, owner: ops, metric: amount, interval: daily, operations: MONEY, currency: EUR, limit: 1000000}
""",
    "risk.yaml": """\
rules:
  - id: words
    owner: ops
    mode: enforce
    action: decline
    operations: [check_words]
    when: payment.reference != "foo" || payer.id != "eng"
    reason: other words
  - id: shadowed
    owner: ops
    mode: shadow
    action: decline
    operations: [shadowed]
    when: payment.reference == "foo"
    reason: seen only
  - id: too_large
    owner: ops
    mode: enforce
    action: decline
    operations: [by_country]
    when: payment.amount.minor_units > 100000
    reason: too large
  - id: country
    owner: ops
    mode: enforce
    action: decline
    operations: [by_country]
    when: card.country in ["KP"]
    reason: sanctions
  - id: no_deletes
    owner: ops
    mode: enforce
    action: decline
    operations: [look]
    when: request.method == "DELETE"
    reason: nothing is deleted
  - id: strong
    owner: ops
    mode: enforce
    action: step_up
    step_up: {acr_values: [urn:sca]}
    operations: [risky]
    when: payment.amount.minor_units > 3000
    reason: strong customer authentication
""",
}


def case_set(root: Path, issuer_url: str, changes: Sequence[tuple[str, str, str]] = ()) -> Path:
    """Write the set, with keys from `issuer_url`, and changes: file, text that must be in it, its replacement."""
    files = {name: text.replace("ISSUER_URL", issuer_url) for name, text in CASE_SET.items()}
    money = [entry["operation"] for entry in yaml.safe_load(files["routes.yaml"])["operations"] if entry["moves_money"]]
    files["quotas.yaml"] = files["quotas.yaml"].replace("MONEY", f"[{', '.join(money)}]")
    for name, old, new in changes:
        assert old in files[name], f"{old!r} is not in {name}"
        files[name] = files[name].replace(old, new.replace("ISSUER_URL", issuer_url), 1)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root
