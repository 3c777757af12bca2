"""Policy sets for the measured cases, written into a temporary directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.cases import PolicyShape

AUDIENCE: Final = "https://payments.bench.test"
DESCRIPTOR_DOMAIN: Final = "bench"
HOST: Final = "payments.bench.test"
OPERATION: Final = "create_payment"
PATH: Final = "/v1/payments"
SCOPE: Final = "payments:write"

# Never reached, and one digit shorter than a card number: a longer one would send every decision record
# through the slow search for card numbers.
_PLENTY: Final = 100_000_000_000
QUOTAS: Final = (
    ("amount_per_day", "amount", "daily"),
    ("rate", "count", "per_second"),
    ("count_per_day", "count", "daily"),
    ("amount_per_week", "amount", "weekly"),
    ("amount_per_month", "amount", "monthly"),
)
"""What a payment is counted by: id, metric, interval. A case takes the first ones."""
_UINT32_MAX: Final = 2**32 - 1
_ZONES: Final = ("UTC", "Asia/Tokyo")

_ATTRIBUTES: Final = {
    "merchant.id": "/merchant_id",
    "payment.amount.minor_units": "/amount/minor_units",
    "payment.amount.currency": "/amount/currency",
    "payment.reference": "/reference",
    "payment.initiator": "/initiator",
    "payment.method": "/method",
    "card.bin": "/card/bin",
    "card.last4": "/card/last4",
    "card.country": "/card/country",
    "card.funding": "/card/funding",
    "card.brand": "/card/brand",
    "payer.id": "/payer/id",
    "payer.country": "/payer/country",
    "payer.ip": "/payer/ip",
    "device.id": "/device/id",
    "shipping.country": "/shipping/country",
    "billing.country": "/billing/country",
}

# None of these hits the payment of `bench.payloads`; {n} makes each of a hundred a rule of its own.
_RULES: Final = (
    'card.country in ["KP", "IR", "SY", "X{n}"]',
    'shipping.country in ["KP", "IR", "SY", "X{n}"]',
    'payment.amount.currency != "EUR" && payment.amount.minor_units > {n}',
    "payment.amount.minor_units >= 200000 + {n} && card.country != billing.country",
    "payment.amount.minor_units >= 100000 + {n} && (time.hour >= 23 || time.hour < 5)",
    'card.funding == "prepaid" && payment.amount.minor_units > 250 + {n}',
    "payment.amount.minor_units >= 50000 + {n} && payment.amount.minor_units % 10000 == 0",
    'payment.initiator == "mit" && payment.amount.minor_units > {n}',
    "auth.age_seconds > 864000 + {n}",
    'merchant.tier == "t{n}" && payment.amount.minor_units > 10000',
    'payer.country in ["KP", "IR", "SY", "X{n}"]',
    'card.brand == "b{n}" && payment.amount.minor_units > 100000',
    'merchant.mcc in ["7995", "5967", "1{n}"] && payment.amount.minor_units > 90000',
    'request.operation == "refund_{n}"',
    'card.bin.startsWith("99{n}")',
    'payment.method == "m{n}"',
    "billing.country != shipping.country && payment.amount.minor_units > 300000 + {n}",
    'peer.ip == "198.51.100.{n}"',
    "time.weekday == 7 && time.hour < 6 && payment.amount.minor_units > 400000 + {n}",
    'auth.client_id == "blocked-{n}"',
)


def write_policy_set(root: Path, shape: PolicyShape, *, issuer: str, jwks_uri: str) -> Path:
    """Write a set in which every request of `bench.payloads` is allowed, and return its directory."""
    writers: dict[str, Callable[[], Iterator[str]]] = {
        "providers.yaml": lambda: _providers(issuer, jwks_uri, is_dpop_bound=shape.is_dpop_bound),
        "routes.yaml": lambda: _routes(shape.operations),
        "profiles/generic.yaml": _profile,
        "merchants.yaml": lambda: _merchants(shape.merchants),
        "quotas.yaml": lambda: _leased(shape) if shape.is_leased else _quotas(shape),
        "risk.yaml": lambda: _risk(shape.rules),
    }
    (root / "profiles").mkdir(parents=True)
    for name, writer in writers.items():
        (root / name).write_text("\n".join([*writer(), ""]), "utf-8")
    (root / "tollhouse.yaml").write_text(f"version: 1\nfiles: [{', '.join(writers)}]\n", "utf-8")
    return root


def write_descriptors(root: Path) -> Path:
    """Write descriptor files whose limits no request of `bench.payloads` exceeds; return their directory."""
    root.mkdir(parents=True)
    lines = [
        f"domain: {DESCRIPTOR_DOMAIN}",
        "descriptors:",
        "  - key: merchant",
        f"    rate_limit: {{unit: second, requests_per_unit: {_UINT32_MAX}}}",
        "    descriptors:",
        "      - key: operation",
        f"        value: {OPERATION}",
        f"        rate_limit: {{unit: day, requests_per_unit: {_UINT32_MAX}}}",
    ]
    (root / "bench.yaml").write_text("\n".join([*lines, ""]), "utf-8")
    return root


def merchant_id(index: int) -> str:
    """Return the id of merchant number `index`."""
    return f"m{index:05d}"


def _providers(issuer: str, jwks_uri: str, *, is_dpop_bound: bool) -> Iterator[str]:
    yield "providers:"
    yield "  - id: bench"
    yield f"    issuer: {issuer}"
    yield "    discovery: none"
    yield f"    jwks_uri: {jwks_uri}"
    yield "    allow_http: true"
    yield f"    audiences: [{AUDIENCE}]"
    yield "    algorithms: [RS256]"
    if is_dpop_bound:
        yield "    dpop: {past_seconds: 300}"


def _routes(operations: int) -> Iterator[str]:
    yield f"hosts: [{HOST}]"
    yield "operations:"
    for name, path in (*((f"read_{n}", f"/v1/r{n}/{{id}}") for n in range(operations - 1)), (OPERATION, PATH)):
        is_payment = name == OPERATION
        yield f"  - operation: {name}"
        yield f"    method: {'POST' if is_payment else 'GET'}"
        yield f"    path: {path}"
        yield f"    scopes: [{SCOPE if is_payment else 'payments:read'}]"
        yield "    merchant: {claim: /merchant_id}"
        yield f"    moves_money: {'true' if is_payment else 'false'}"
        if is_payment:
            yield "    profile: generic"


def _profile() -> Iterator[str]:
    required = ("merchant.id", "payment.amount.minor_units", "payment.amount.currency")
    yield "profile: generic"
    yield "attributes:"
    for name, pointer in _ATTRIBUTES.items():
        yield f"  {name}: {{pointer: {pointer}{', required: true' if name in required else ''}}}"


def _merchants(merchants: int) -> Iterator[str]:
    yield "tiers: [s]"
    yield "merchants:"
    for index in range(merchants):
        zone = _ZONES[index % len(_ZONES)]
        yield (
            f"- {{id: {merchant_id(index)}, name: M, status: active, tier: s, time_zone: {zone}, "
            'mcc: "5732", country: DE}'
        )


def _quotas(shape: PolicyShape) -> Iterator[str]:
    """Quotas for the measured operation, with a value of its own for every merchant."""
    own = ", ".join(f"{merchant_id(index)}: {_PLENTY + index}" for index in range(shape.merchants))
    yield "quotas:"
    for name, metric, interval in QUOTAS[: shape.quotas]:
        yield f"  - id: {name}"
        yield "    owner: bench"
        yield f"    metric: {metric}"
        yield f"    interval: {interval}"
        yield f"    operations: [{OPERATION}]"
        if metric == "amount":
            yield "    currency: EUR"
        yield f"    limit: {_PLENTY}"
        yield f"    merchants: {{{own}}}"
        yield "    on_store_failure: deny"


def _leased(shape: PolicyShape) -> Iterator[str]:
    """One count that needs no call to the store, and no amount that does."""
    unlimited = ", ".join(f"{merchant_id(index)}: {{owner: bench, reason: b}}" for index in range(shape.merchants))
    common = f"owner: bench, operations: [{OPERATION}], interval: daily"
    yield "quotas:"
    yield f"  - {{id: calls, {common}, metric: count, coordination: leased, limit: {_PLENTY}}}"
    yield f"  - {{id: amounts, {common}, metric: amount, currency: EUR, limit: {_PLENTY}, unlimited: {{{unlimited}}}}}"


def _risk(rules: int) -> Iterator[str]:
    yield "rules:"
    for number in range(rules):
        when = _RULES[number % len(_RULES)].replace("{n}", str(number))
        yield f"  - id: rule_{number}"
        yield "    owner: bench"
        yield "    mode: enforce"
        yield "    action: decline"
        yield f"    when: {json.dumps(when)}"
        yield "    reason: Measured, never hits"
