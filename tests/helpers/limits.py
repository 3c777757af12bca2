"""Tables of the rate-limit service built by hand, for tests of its steps."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from policy.merchants import MerchantEntry
from ratelimit.model import LimitQuery
from ratelimit.tables import Limit, Plan, Tables
from ratelimit.window import Frame

DAY, SECOND = Frame("day"), Frame("second")


def limit(quota: str, value: int, **changes: Any) -> Limit:
    """Return an enforced daily count unless `changes` say otherwise; `interval` as in quotas.yaml."""
    interval = changes.pop("interval", "daily")
    fields: dict[str, Any] = {
        "metric": "count",
        "currency": None,
        "is_shadow": False,
        "denies_without_store": True,
        "frame": {"daily": DAY, "per_second": SECOND, "per_transaction": None}[interval],
        "is_single": interval == "per_transaction",
        "is_rate": interval == "per_second",
    }
    return Limit(quota=quota, value=value, **{**fields, **changes})


def tables(*limits: Limit, moves_money: bool = True, covered: frozenset[str] = frozenset({"EUR"})) -> Tables:
    """Return tables of one merchant `m_1` in Berlin with one operation `create_payment`."""
    entry = MerchantEntry(
        "m_1", is_active=True, tier="standard", zone=ZoneInfo("Europe/Berlin"), mcc=None, country=None
    )
    plan = Plan(
        moves_money=moves_money,
        single=tuple(each for each in limits if each.is_single),
        counted=tuple(each for each in limits if not each.is_single),
        covered_currencies=covered,
        scopes=tuple(sorted({each.scope for each in limits} - {"merchant"})),
    )
    return Tables("r" * 16, {"m_1": entry}, frozenset({"create_payment"}), {"m_1": {"create_payment": plan}})


def limit_query(**changes: Any) -> LimitQuery:
    """Return the hand-off of a payment of 1000 EUR cents."""
    fields: dict[str, Any] = {
        "merchant_id": "m_1",
        "operation": "create_payment",
        "currency": "EUR",
        "amount_minor": 1000,
        "decision_id": "d" * 32,
        "policy_revision": "a" * 16,
    }
    return LimitQuery(**{**fields, **changes})
