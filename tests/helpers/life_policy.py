"""The policy set of the life tests: limits wide enough for the load, and one way to be refused a step.

Two revisions of it differ in the country whose cards are declined.
"""

from __future__ import annotations

import os
from pathlib import Path

AUDIENCE = "https://pay.example.test"
MERCHANT, SMALL_MERCHANT = "m_active", "m_single"
SINGLE_LIMIT = 5000
"""Minor units; the small merchant's largest single payment."""

DECLINED = "KP"
OTHER_DECLINED = "IR"

_FILES = {
    "tollhouse.yaml": """\
version: 1
files: [providers.yaml, routes.yaml, profiles/plain.yaml, merchants.yaml, quotas.yaml, risk.yaml]
""",
    "providers.yaml": """\
providers:
  - id: life
    issuer: {issuer}
    discovery: oidc
    allow_http: true # loopback, inside one test
    audiences: ["https://pay.example.test"]
    algorithms: [ES256]
""",
    "routes.yaml": """\
hosts: [127.0.0.1]
operations:
  - operation: create_payment
    method: POST
    path: /v1/payments
    scopes: ["payments:write"]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
""",
    "profiles/plain.yaml": """\
profile: plain
attributes:
  merchant.id: {pointer: /merchant_id, required: true}
  payment.amount.minor_units: {pointer: /amount/minor_units, required: true}
  payment.amount.currency: {pointer: /amount/currency, required: true}
  payment.reference: {pointer: /reference}
  card.country: {pointer: /card/country}
""",
    "merchants.yaml": """\
tiers: [standard]
merchants:
  - {id: m_active, name: Large, status: active, tier: standard, time_zone: UTC}
  - {id: m_single, name: Small, status: active, tier: standard, time_zone: UTC}
""",
    "quotas.yaml": """\
quotas:
  - {id: single, owner: life, metric: amount, interval: per_transaction, operations: [create_payment],
     currency: EUR, limit: 1000000, merchants: {m_single: 5000}}
  - {id: per_day, owner: life, metric: count, interval: daily, operations: [create_payment],
     limit: 1000000000, on_store_failure: deny}
  - {id: amount_per_day, owner: life, metric: amount, interval: daily, operations: [create_payment],
     currency: EUR, limit: 1000000000000, on_store_failure: deny}
""",
    "risk.yaml": """\
rules:
  - id: declined_country
    owner: life
    mode: enforce
    action: decline
    when: present("card.country") && card.country == "{declined}"
    reason: Declined in this revision of the policy
""",
}


def write_policies(root: Path, issuer_url: str, declined: str = DECLINED) -> Path:
    """Write the set into `root` and return it."""
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{issuer}", issuer_url).replace("{declined}", declined), "utf-8")
    return root


def decline(root: Path, country: str) -> None:
    """Replace the risk rules, whole, by those that decline cards of this country."""
    new = root.parent / "risk.yaml.new"  # outside, or the set would have a file too many for a moment
    new.write_text(_FILES["risk.yaml"].replace("{declined}", country), "utf-8")
    os.replace(new, root / "risk.yaml")
