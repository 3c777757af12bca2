"""Which value of a quota counts for a merchant, and what it covers."""

from __future__ import annotations

import pytest

from helpers.services import copy_policies
from policy.loader import load_policy_set
from ratelimit.compile import compile_tables

UNLIMITED = "{owner: a, reason: b}"


def plan(tmp_path, quota: str, merchant: str = "m_active"):
    """Compile the shipped set with `quota` as its one quota, for create_payment."""
    policies = copy_policies(tmp_path / "policies")
    head = "quotas:\n  - {id: q, owner: a, operations: [create_payment], "
    (policies / "quotas.yaml").write_text(head + quota + "}\n")
    return compile_tables(load_policy_set(policies)).plans[merchant]["create_payment"]


DAILY = "metric: amount, interval: daily, currency: EUR, "


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ("limit: 1", 1),
        ("limit: 1, tiers: {premium: 2}", 2),
        ("limit: 1, tiers: {premium: 2}, merchants: {m_active: 3}", 3),
        ("limit: 9, merchants: {m_active: 0}", 0),
    ],
)
def test_most_specific_value_counts(tmp_path, values, value):
    compiled = plan(tmp_path, DAILY + values)
    assert [limit.value for limit in compiled.counted] == [value]
    assert compiled.covered_currencies == {"EUR"}


def test_quota_without_a_value_for_a_merchant_does_not_apply_and_does_not_cover(tmp_path):
    compiled = plan(tmp_path, DAILY + "tiers: {standard: 5}")
    assert (compiled.counted, compiled.covered_currencies) == ((), frozenset())


def test_written_unlimited_covers_without_a_limit(tmp_path):
    compiled = plan(tmp_path, f"{DAILY}limit: 5, unlimited: {{m_active: {UNLIMITED}}}")
    assert (compiled.counted, compiled.covered_currencies) == ((), {"EUR"})


@pytest.mark.parametrize(
    "quota",
    [DAILY + "limit: 5, mode: shadow", "metric: count, interval: daily, limit: 5"],
    ids=["a shadow quota", "a count"],
)
def test_shadow_quota_and_count_cover_no_payment(tmp_path, quota):
    assert plan(tmp_path, quota).covered_currencies == frozenset()


@pytest.mark.parametrize(
    ("quota", "denies"),
    [
        (DAILY + "limit: 5", True),
        (DAILY + "limit: 5, on_store_failure: allow", False),
        ("metric: count, interval: daily, limit: 5", False),
        ("metric: count, interval: daily, limit: 5, on_store_failure: deny", True),
    ],
)
def test_without_a_store_amounts_deny_and_counts_allow_unless_written(tmp_path, quota, denies):
    assert plan(tmp_path, quota).counted[0].denies_without_store is denies


def test_merchants_of_one_tier_share_their_plans(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    tables = compile_tables(load_policy_set(policies))
    assert tables.plans["m_suspended"] is not tables.plans["m_daily"]
    quotas = (policies / "quotas.yaml").read_text()
    (policies / "quotas.yaml").write_text(
        quotas.replace("      m_single: 5000\n", "")
        .replace("m_rate: 2", "m_small: 3", 1)
        .replace("      m_small: 5\n", "", 1)
    )
    tables = compile_tables(load_policy_set(policies))
    assert tables.plans["m_single"] is tables.plans["m_rate"] is tables.plans["m_suspended"]
