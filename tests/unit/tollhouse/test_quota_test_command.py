"""`tollhouse test`: what passes, what fails, and how a failure is told in few lines."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from helpers.services import copy_policies
from tollhouse.__main__ import app
from tollhouse.quota_test_report import run_policy_tests

ROOT = Path(__file__).parents[3]
HELD = """\
quotas:
  - id: day
    owner: a
    metric: amount
    interval: daily
    operations: [create_payment, refund_payment]
    currency: EUR
    limit: 100
    counts: authorized
  - {id: open, owner: a, metric: in_flight, operations: [create_payment], limit: 2}
  - {id: cards, owner: a, metric: distinct, distinct: card, interval: daily, operations: [create_payment], limit: 2,
     without: {owner: a, reason: b}}
"""
ENFORCED = "    profile: generic\n    idempotency: { mode: upstream_enforced }\n"
HEAD = "quota_tests:\n  - name: one\n    at: 2026-03-02T09:00:00+01:00\n    steps:\n"


def pay(amount: int = 60, more: str = "", step: str = "") -> str:
    return (
        f"{{pay: {{merchant: m_active, operation: create_payment, amount_minor: {amount}, currency: EUR{more}}}{step}}}"
    )


def run(tmp_path: Path, *steps: str, quotas: str = HELD) -> int:
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(quotas)
    (policies / "quotas_test.yaml").write_text(HEAD + "".join(f"      - {step}\n" for step in steps))
    return run_policy_tests(policies)


def test_shipped_set_passes_and_each_of_its_quotas_is_tested():
    result = CliRunner().invoke(app, ["test", str(ROOT / "policies")])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("OK 11 quota tests passed, revision ")


@pytest.mark.parametrize(
    ("outcome", "used"),
    [("declined", 0), ("approved", 60), ("in_doubt", 60), ("lost", 60)],
    ids=lambda value: str(value),
)
def test_only_a_declined_payment_is_given_back(tmp_path, capsys, outcome, used):
    steps = (
        pay(step=", id: first, expect: {decision: within_limit, used: {day: 60, open: 1}}"),
        pay(50, step=", expect: {reason: quota_exceeded, quota: day, over: [day]}"),
        f"{{outcome: {outcome}, of: first, expect: {{used: {{day: {used}}}}}}}",
    )
    assert run(tmp_path, *steps) == 0, capsys.readouterr().out


def test_a_refused_payment_has_no_outcome(tmp_path, capsys):
    assert run(tmp_path, pay(1, step=", times: 2"), pay(1, step=", expect: {quota: open}"), "{outcome: lost}") == 1
    assert "the payment was refused, so nothing of it can have an outcome" in capsys.readouterr().out


def test_what_is_in_flight_ends_with_the_outcome_or_with_its_lease(tmp_path, capsys):
    steps = (
        pay(1, step=", times: 2, id: second"),
        "{outcome: approved, of: second}",
        pay(1, step=", expect: {used: {open: 2}}"),
        f"{{after: 61s, {pay(1, step=', expect: {used: {open: 1}}')[1:]}",
    )
    assert run(tmp_path, *steps) == 0, capsys.readouterr().out


def test_words_stand_for_cards(tmp_path, capsys):
    steps = (
        pay(1, ", card: a"),
        "{outcome: approved}",
        pay(1, ", card: b"),
        "{outcome: approved}",
        pay(1, ", card: a", ", expect: {used: {cards: 2}}"),
        "{outcome: approved}",
        pay(1, ", card: c", ", expect: {quota: cards}"),
    )
    assert run(tmp_path, *steps) == 0, capsys.readouterr().out


def test_a_failure_says_where_which_step_and_what_differs(tmp_path, capsys):
    expect = ", expect: {reason: quota_exceeded, over: [day], used: {day: 61, open: 1, nobody: 1}}"
    assert run(tmp_path, pay(1), pay(step=expect)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "quotas_test.yaml:6:9: FAILED 'one'",
        "    step 2: m_active create_payment 60 EUR",
        "    reason: expected quota_exceeded, got None",
        "    decision: expected over_limit, got within_limit",
        "    over: expected day, got none",
        "    used open: expected 1, got 2",
        "    used nobody: expected 1, but the payment is not counted by it",
    ]
    assert lines[7] == "no test counts by: cards"
    assert lines[8].startswith("FAILED 1 of 1 quota test, revision ")


def test_a_failure_has_at_most_ten_lines(tmp_path, capsys):
    wrong = ", ".join(f"q_{number}: 1" for number in range(30))
    assert run(tmp_path, pay(step=f", expect: {{used: {{{wrong}}}}}")) == 1
    about = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(("FAILED", "no test"))]
    assert len(about) == 10
    assert about[-1] == "    and 23 more differ"


def test_a_payment_of_many_that_is_refused_too_early_fails(tmp_path, capsys):
    assert run(tmp_path, pay(40, step=", times: 4")) == 1
    assert "payment 3 of 4: got over_limit (" in capsys.readouterr().out


def test_a_set_that_does_not_load_or_has_no_tests_does_not_pass(tmp_path, capsys):
    assert run(tmp_path, pay(step=", tims: 4")) == 1
    assert "nothing was tested: the set does not load" in capsys.readouterr().out
    policies = tmp_path / "policies"
    manifest = policies / "tollhouse.yaml"
    manifest.write_text("\n".join(line for line in manifest.read_text().splitlines() if "_test" not in line))
    (policies / "quotas_test.yaml").unlink()
    assert run_policy_tests(policies) == 1
    assert capsys.readouterr().out == "no tests: write NAME_test.yaml and list it in tollhouse.yaml\n"
    assert run_policy_tests(tmp_path / "nowhere") == 2


def test_results_are_written_for_build_servers(tmp_path, capsys):
    assert run(tmp_path, pay(step=", expect: {over: [day]}")) == 1
    file = tmp_path / "results.xml"
    result = CliRunner().invoke(app, ["test", str(tmp_path / "policies"), "--junit", str(file)])
    assert result.exit_code == 1
    suite = ElementTree.fromstring(file.read_bytes())  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase[@name='one']/failure")
    assert failure is not None
    assert "over: expected day, got none" in failure.text
    assert run_policy_tests(tmp_path / "policies", tmp_path / "nowhere" / "results.xml") == 2


def test_a_repeated_payment_counts_once_where_the_upstream_enforces_it(tmp_path, capsys):
    steps = (
        pay(60, ", idempotency_key: a"),
        pay(60, ", idempotency_key: a", ", expect: {decision: within_limit, used: {day: 60, open: 2}}"),
        "{outcome: approved}",
        pay(61, ", idempotency_key: a", ", expect: {reason: idempotency_mismatch}"),
        pay(60, ", idempotency_key: b", ", expect: {quota: day}"),
    )
    assert run(tmp_path, *steps) == 1  # nothing is enforced: the second one is another payment
    assert "decision: expected within_limit, got over_limit (quota_exceeded, by day)" in capsys.readouterr().out
    routes = tmp_path / "policies" / "routes.yaml"
    routes.write_text(routes.read_text().replace("    profile: generic\n", ENFORCED, 1))
    assert run_policy_tests(tmp_path / "policies") == 0, capsys.readouterr().out
