"""Mistakes on the command line: one line for a person, exit code 2, nothing started and nothing secret repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.services import SHIPPED
from tollhouse.__main__ import app

EXTAUTHZ = ("serve", "extauthz", "--policies", str(SHIPPED), "--listen", "127.0.0.1:0")
RATELIMIT = ("serve", "ratelimit", "--policies", str(SHIPPED), "--listen", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*EXTAUTHZ, "--log-level", "loud"), "--log-level must be one of"),
        ((*EXTAUTHZ, "--decision-log", "/nowhere/decisions.jsonl"), "--decision-log /nowhere"),
        ((*EXTAUTHZ, "--decision-log", "/"), "--decision-log / is not"),
        ((*EXTAUTHZ, "--errors-uri", "not a uri"), "--errors-uri must be"),
        ((*EXTAUTHZ, "--store", "embedded:"), "--store embedded: belongs to ratelimit"),
        ((*EXTAUTHZ, "--listen", "0.0.0.0:9001"), "--insecure-listen"),
        ((*RATELIMIT, "--store", "redis://:hunter2@store:port/0"), "--store: store URL: not a URL"),
        ((*RATELIMIT, "--store", "redis://:hunter2@store/hunter2"), "--store: store URL: the path"),
        ((*RATELIMIT, "--store", "memory:hunter2"), "--store: store URL: must be"),
        ((*RATELIMIT, "--store", "mysql://hunter2"), "--store must be one of"),
        (("schema", "/dev/null"), "/dev/null cannot be written"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], said: str):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output


def test_token_names_an_issuer_that_is_no_url():
    result = CliRunner().invoke(app, ["token", "--issuer", "http://[issuer"])
    assert (result.exit_code, result.stderr) == (1, "tollhouse token: http://[issuer is not an http URL\n")


def test_decision_log_may_be_new_or_be_appended_to(tmp_path: Path):
    (tmp_path / "old").touch()
    for name in ("old", "new"):
        arguments = (*EXTAUTHZ, "--decision-log", str(tmp_path / name), "--log-level", "loud", "--errors-uri", "x")
        assert "--log-level" in CliRunner().invoke(app, arguments).stderr
    for name in ("old", "new"):
        arguments = (*EXTAUTHZ, "--decision-log", str(tmp_path / name), "--errors-uri", "x")
        assert "--errors-uri" in CliRunner().invoke(app, arguments).stderr
