"""`tollhouse quota raise`: an entry that loads and raises, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.services import copy_policies
from policy.loader import load_policy_set
from ratelimit.compile import compile_tables
from tollhouse.__main__ import app

GIVEN = {
    "--merchant": "m_daily",
    "--quota": "amount_per_day_eur",
    "--limit": "50000",
    "--from": "2020-01-01",
    "--until": "2999-12-31",
    "--owner": "sales",
    "--approver": "risk-operations",
    "--reason": 'Sale of the year: "agreed"',
}


def run(policies: Path, **changes: str):
    given = {**GIVEN, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    words = [word for pair in given.items() for word in pair]
    return CliRunner().invoke(app, ["quota", "raise", "--policies", str(policies), *words])


def test_what_is_printed_loads_and_holds(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    result = run(policies)
    assert result.exit_code == 0, result.output
    merchants = policies / "merchants.yaml"
    merchants.write_text(merchants.read_text() + result.output)
    plan = compile_tables(load_policy_set(policies)).plans["m_daily"]["create_payment"]
    (limit,) = [each for each in plan.counted if each.quota == "amount_per_day_eur"]
    assert limit.value_at(1_900_000_000) == 50_000
    assert limit.value_at(1_500_000_000) == 10_000


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"limit": "10000"}, "--limit: 10000 holds already"),
        ({"limit": "1e9"}, "not a value that merchants.yaml takes: --limit"),
        ({"until": "tomorrow"}, "not a value that merchants.yaml takes: --until"),
        ({"from": "1.1.2020"}, "not a value that merchants.yaml takes: --from"),
        ({"until": "2020-02-30"}, "'2020-02-30' is not a date"),
        ({"until": "2019-12-31"}, "the override ends before it starts"),
        ({"until": "2020-12-31"}, "--until lies behind"),
        ({"approver": "sales"}, "owner and approver are one"),
        ({"quota": "amount_per_day"}, "unknown quota 'amount_per_day'"),
        ({"merchant": "m_ghost"}, "the policy set knows no such merchant"),
        ({"reason": "two\nlines"}, "--reason must be one line"),
    ],
)
def test_what_would_not_load_or_raise_nothing_is_refused(tmp_path, changes, why):
    result = run(copy_policies(tmp_path / "policies"), **changes)
    assert (result.exit_code, why in result.output) == (2, True), result.output
