"""A small policy set that is valid, and changes of it whose mistake is marked where it must be reported."""

from __future__ import annotations

from pathlib import Path

MARK = "⟦"
"""Stands in a changed text right before the place that the diagnostic must point at; taken out before writing."""

SMALL_SET = {
    "tollhouse.yaml": """\
version: 1
files:
  - providers.yaml
  - routes.yaml
  - profiles/plain.yaml
  - merchants.yaml
  - quotas.yaml
  - risk.yaml
""",
    "providers.yaml": """\
providers:
  - id: main
    issuer: https://issuer.example
    audiences: [https://api.example]
    algorithms: [RS256]
""",
    "routes.yaml": """\
hosts: [api.example]
operations:
  - operation: pay
    method: POST
    path: /v1/payments
    scopes: [pay]
    merchant: {claim: /merchant_id}
    moves_money: true
    profile: plain
  - operation: look
    method: GET
    path: /v1/payments/{id}
    scopes: [look]
    merchant: {claim: /merchant_id}
    moves_money: false
""",
    "profiles/plain.yaml": """\
profile: plain
attributes:
  merchant.id: {pointer: /merchant}
  payment.amount.minor_units: {pointer: /amount}
  payment.amount.currency: {pointer: /currency}
  card.country: {pointer: /card/country}
""",
    "merchants.yaml": """\
tiers: [small, large]
merchants:
  - id: m_one
    name: One
    status: active
    tier: small
    time_zone: Europe/Berlin
  - id: m_two
    name: Two
    status: suspended
    suspension: {owner: ops, reason: review}
    tier: large
    time_zone: UTC
""",
    "quotas.yaml": """\
quotas:
  - id: rate
    owner: ops
    metric: count
    interval: per_second
    operations: [pay, look]
    limit: 10
  - id: daily
    owner: ops
    metric: amount
    interval: daily
    operations: [pay]
    currency: EUR
    limit: 1000
    merchants:
      m_one: 500
""",
    "risk.yaml": """\
rules:
  - id: country
    owner: ops
    mode: enforce
    action: decline
    when: card.country in ["KP"]
    reason: test
""",
}

Change = tuple[str, str, str]
"""File, text in it (once), and what stands there instead."""


def write_set(root: Path, *changes: Change, without: str = "") -> Path:
    """Write the small set with changes into `root` and return it."""
    for name, text in changed_set(*changes).items():
        if name != without:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(MARK, ""), "utf-8")
    return root


def changed_set(*changes: Change) -> dict[str, str]:
    """Return the small set with changes, marks still in place."""
    files = dict(SMALL_SET)
    for name, old, new in changes:
        assert files[name].count(old) == 1, f"{old!r} must stand once in {name}"
        files[name] = files[name].replace(old, new)
    return files


def marked_places(files: dict[str, str]) -> list[tuple[str, int, int]]:
    """Return file, line and column (1-based) of every mark."""
    places = []
    for name, text in sorted(files.items()):
        for number, line in enumerate(text.split("\n"), start=1):
            while (found := line.find(MARK)) >= 0:
                line = line.replace(MARK, "", 1)
                places.append((name, number, found + 1))
    return places
