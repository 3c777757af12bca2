"""`tollhouse envoy check`: a chain that keeps outcomes back, or says more of retries than is true, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.services import copy_policies, edit
from tollhouse.__main__ import app
from tollhouse.up.envoy_config import REFERENCE, read_reference

RETRY = """\
                  retry_policy:
                    retry_on: connect-failure,refused-stream
                    num_retries: 2
                    retry_back_off: {base_interval: 0.025s"""
ELSEWHERE = "          rds: {route_config_name: a}\n          route_config:\n"
LOG = "          - name: envoy.access_loggers.http_grpc\n"
TAG = "custom_tags: [{tag: tollhouse.upstream_retries, literal: {value: unsent_only}}]"
DEFECTS = {
    "no access log": (LOG, LOG.replace("http_grpc", "x")),
    "a reset is tried again": (RETRY, RETRY.replace("connect-failure", "connect-failure,reset")),
    "any error is tried again": (RETRY, RETRY.replace("connect-failure,refused-stream", "5xx")),
    "sent twice at once": (RETRY, "                  hedge_policy: {hedge_on_per_try_timeout: true}\n" + RETRY),
    "routes from elsewhere": ("          route_config:\n", ELSEWHERE),
    "callers may ask": ("{key_matcher: {prefix: x-envoy-,", "{key_matcher: {prefix: x-other-,"),
}


def waiting(tmp_path: Path, *, is_waiting: bool = True) -> Path:
    policies = copy_policies(tmp_path / "policies")
    if is_waiting:
        tiers = "    tiers:\n      standard: 5000000\n"
        edit(policies / "quotas.yaml", tiers, f"    counts: authorized\n{tiers}")
    return policies


def checked(tmp_path: Path, text: str, policies: Path) -> tuple[int, str]:
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["envoy", "check", str(file), "--policies", str(policies)])
    return result.exit_code, result.output


@pytest.mark.parametrize("path", sorted(REFERENCE.parent.glob("tollhouse*.yaml")), ids=lambda path: path.name)
def test_shipped_chains_tell_outcomes(tmp_path, path):
    code, said = checked(tmp_path, path.read_text(), waiting(tmp_path))
    assert (code, "ok;" in said) == (0, True), said


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_refused(tmp_path, name):
    before, after = DEFECTS[name]
    text = read_reference()
    assert before in text
    changed = text.replace(before, after, 1)
    if name == "no access log":
        changed = changed.replace("grpc.v3.HttpGrpcAccessLogConfig", "stream.v3.StdoutAccessLog")
    code, said = checked(tmp_path, changed, waiting(tmp_path))
    assert (code, len(said.splitlines())) == (1, 1), said


def test_retries_are_the_operators_own_where_the_log_says_nothing_of_them(tmp_path):
    before, after = DEFECTS["a reset is tried again"]
    text = read_reference().replace(before, after, 1)
    assert TAG in text
    assert checked(tmp_path, text.replace(TAG, "custom_tags: []"), waiting(tmp_path))[0] == 0


def test_set_that_waits_for_nothing_asks_for_no_log(tmp_path):
    text = read_reference().replace("grpc.v3.HttpGrpcAccessLogConfig", "stream.v3.StdoutAccessLog")
    assert checked(tmp_path, text, waiting(tmp_path, is_waiting=False))[0] == 0
