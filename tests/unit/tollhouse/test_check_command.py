"""`tollhouse check`: what it prints and its exit code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from helpers.policy_sets import write_set
from policy.diagnostics import Problem
from policy.loader import PolicySet
from tollhouse.__main__ import app
from tollhouse.check import run_check

MISSPELT = ("quotas.yaml", "limit: 10\n", "limt: 10\n")
WRONG_RULE = ("risk.yaml", "card.country", "card.contry")


def test_valid_set_prints_its_revision_and_counts(tmp_path, capsys):
    assert run_check(write_set(tmp_path), "text", False) == 0
    out = capsys.readouterr().out
    assert out.startswith("OK revision ")
    assert out.endswith(": 2 operations, 2 merchants, 2 quotas, 1 rule\n")


def test_set_that_reads_card_numbers_is_valid_and_says_what_serving_it_takes(tmp_path, capsys):
    reads_cards = ("profiles/plain.yaml", "profile: plain", "profile: plain\ncard_number: {pointer: /card/number}")
    assert run_check(write_set(tmp_path, reads_cards), "text", False) == 0
    out = capsys.readouterr().out
    assert out.endswith("; extauthz needs --card-key-file (card numbers in profiles/plain.yaml)\n")


def test_leased_quota_says_what_another_replica_may_hold(tmp_path, capsys):
    leased = ("quotas.yaml", "limit: 10\n", "limit: 10000\n    coordination: leased\n")
    assert run_check(write_set(tmp_path, leased), "text", False) == 0
    assert "; each further replica may hold of leased quotas: " in (out := capsys.readouterr().out)
    assert out.endswith(" up to 250 of 10000\n")


def test_mistakes_are_printed_by_place_with_a_caret_for_expressions(tmp_path, capsys):
    assert run_check(write_set(tmp_path, MISSPELT, WRONG_RULE), "text", False) == 1
    assert capsys.readouterr().out == (
        "quotas.yaml:7:5: P030 unknown key 'limt'; did you mean 'limit'?\n"
        "risk.yaml:6:11: P080 unknown attribute or function 'card.contry'; did you mean 'card.country'?\n"
        '        when: card.contry in ["KP"]\n'
        "              ^\n"
        "2 problems, nothing loaded. Explanations: docs/policy-errors.md\n"
    )


def test_json_form_has_every_field(tmp_path, capsys):
    assert run_check(write_set(tmp_path, MISSPELT), "json", True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["valid"], printed["revision"]) == (False, None)
    assert printed["problems"] == [
        {
            "file": "quotas.yaml",
            "line": 7,
            "column": 5,
            "code": "P030",
            "message": "unknown key 'limt'; did you mean 'limit'?",
            "excerpt": "",
            "severity": "error",
        }
    ]


def test_json_form_of_a_valid_set_names_the_revision(tmp_path, capsys):
    assert run_check(write_set(tmp_path), "json", False) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["valid"], printed["problems"], len(printed["revision"])) == (True, [], 16)


def test_warning_is_printed_and_does_not_change_the_exit_code(tmp_path, capsys):
    write_set(tmp_path, ("quotas.yaml", "    limit: 1000\n", ""))
    assert run_check(tmp_path, "text", False) == 0
    assert "quotas.yaml:2:3: P076 warning: no enforced amount quota covers 'pay' for m_two" in capsys.readouterr().out


def test_colour_is_written_only_on_demand(tmp_path, capsys):
    run_check(write_set(tmp_path), "text", True)
    assert "\x1b[" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_directory_is_a_usage_error(tmp_path, capsys, name):
    (tmp_path / "file").touch()
    assert run_check(tmp_path / name, "text", False) == 2
    assert "is not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(("severity", "code"), [("error", 1), ("warning", 0)])
def test_problem_of_a_service_counts(tmp_path, capsys, severity, code):
    def complain(policy: PolicySet) -> list[Problem]:
        return [policy.problem("risk.yaml", ("rules", 0, "id"), "P080", "not for me", severity=severity)]

    assert run_check(write_set(tmp_path), "text", False, [complain]) == code
    assert "risk.yaml:2:9: P080" in capsys.readouterr().out


EDGE = "domain: edge\ndescriptors: [{key: user, rate_limit: {unit: minute, requests_per_unit: 010}}]\n"


def check(*arguments: str):
    return CliRunner().invoke(app, ["check", *arguments])


def test_directory_of_descriptor_files_is_known_by_its_files(tmp_path):
    (tmp_path / "edge.yaml").write_text(EDGE)
    result = check(str(tmp_path))
    assert result.exit_code == 1
    assert result.stdout == (
        "edge.yaml:2:73: P129 '010' is read as 8; write 8\n"
        "1 problem, nothing loaded. Explanations: docs/policy-errors.md\n"
    )


def test_descriptor_files_are_checked_as_the_service_is_told_to_read_them(tmp_path):
    (tmp_path / "edge.yaml").write_text(EDGE)
    (tmp_path / "more.yaml").write_text(EDGE.replace("user", "ip"))
    assert "duplicate domain 'edge' in config file" in check(str(tmp_path), "--compat", "envoyproxy").stdout
    result = check(str(tmp_path), "--compat", "envoyproxy", "--merge-domains", "--format", "json")
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["valid"]) == (0, True)
    assert printed["summary"].endswith(": 1 domain, 2 limits, 2 warnings (as envoyproxy/ratelimit reads them)")


def test_descriptor_files_of_a_policy_set_are_counted(tmp_path):
    listed = ("tollhouse.yaml", "  - risk.yaml\n", "  - risk.yaml\n  - descriptors/edge.yaml\n")
    (tmp_path / "descriptors").mkdir()
    (tmp_path / "descriptors" / "edge.yaml").write_text(EDGE.replace("010", "10"))
    result = check(str(write_set(tmp_path, listed)))
    assert result.exit_code == 0
    assert result.stdout.endswith(": 2 operations, 2 merchants, 2 quotas, 1 rule, 1 limit by descriptors\n")


def test_descriptors_option_says_what_an_empty_directory_was_meant_to_be(tmp_path):
    assert "P020" in check(str(tmp_path)).stdout
    assert "P137" in check(str(tmp_path), "--descriptors").stdout
    assert check(str(tmp_path / "gone"), "--descriptors").exit_code == 2
