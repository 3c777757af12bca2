"""The metadata of the API: made of the policy set, and in every Envoy file what the set says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from helpers.policy_sets import write_set
from helpers.services import SHIPPED, copy_policies, edit
from policy.loader import load_policy_set
from tollhouse.__main__ import app
from tollhouse.compose_files import ISSUER_URL
from tollhouse.resource_metadata import BEGIN, END, PlaceMissing, resource_metadata, with_metadata
from tollhouse.up.envoy_config import REFERENCE, read_reference

PLACE = "              routes:\n" + BEGIN + END
RESOURCE = ("routes.yaml", "hosts", 'resource: {identifier: https://api.example, name: "Jörgs \\"100 %\\" API"}\nhosts')
CONSENT = (
    "routes.yaml",
    "    scopes: [pay]\n",
    "    scopes: []\n"
    "    authorization_details: {type: payment_initiation, actions: [go], creditor: {payee.account: /to}}\n",
)
PAYEE = ("profiles/plain.yaml", "attributes:\n", "attributes:\n  payee.account: {pointer: /to}\n")


def answered(text: str) -> dict[str, object]:
    routes = yaml.safe_load(text)["routes"]
    return json.loads(routes[0]["direct_response"]["body"]["inline_string"])


def test_reference_file_says_what_the_sample_set_says() -> None:
    assert read_reference() == with_metadata(read_reference(), load_policy_set(SHIPPED)), "run scripts/docs"


def test_file_of_the_compose_stack_names_the_issuer_of_that_stack() -> None:
    text = (Path(__file__).parents[3] / "compose" / "envoy.yaml").read_text("utf-8")
    (block,) = [text.partition(BEGIN)[2].partition(END)[0]]
    expected = {**resource_metadata(load_policy_set(SHIPPED)), "authorization_servers": [ISSUER_URL]}
    assert answered("routes:\n" + block) == expected


def test_metadata_is_what_the_set_says(tmp_path) -> None:
    policy = load_policy_set(write_set(tmp_path, RESOURCE, CONSENT, PAYEE))
    assert answered(with_metadata(PLACE, policy)) == {
        "resource": "https://api.example",
        "authorization_servers": ["https://issuer.example"],
        "scopes_supported": ["look"],
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["payment_initiation"],
        "resource_name": 'Jörgs "100 %" API',
    }


@pytest.mark.parametrize(
    ("bindings", "members"),
    [
        (("none", "none"), {"dpop_signing_alg_values_supported": ["ES256"]}),
        (
            ("dpop", "dpop"),
            {"dpop_signing_alg_values_supported": ["ES256"], "dpop_bound_access_tokens_required": True},
        ),
        (
            ("dpop", "certificate"),
            {"dpop_signing_alg_values_supported": ["ES256"], "tls_client_certificate_bound_access_tokens": True},
        ),
    ],
)
def test_metadata_says_what_tokens_may_or_must_be_bound_to(tmp_path, bindings, members) -> None:
    pay, look = bindings
    changes = (
        ("providers.yaml", "    algorithms", "    dpop: {algorithms: [ES256]}\n    algorithms"),
        ("routes.yaml", "    moves_money: true\n", f"    moves_money: true\n    sender_constraint: {pay}\n"),
        ("routes.yaml", "    moves_money: false\n", f"    moves_money: false\n    sender_constraint: {look}\n"),
    )
    found = resource_metadata(load_policy_set(write_set(tmp_path, RESOURCE, *changes)))
    assert {name: value for name, value in found.items() if name.startswith(("dpop_", "tls_"))} == members


def test_set_without_a_resource_leaves_no_route(tmp_path) -> None:
    policy = load_policy_set(write_set(tmp_path))
    assert resource_metadata(policy) is None
    assert with_metadata(read_reference(), policy).count("direct_response") == 0
    assert with_metadata(with_metadata(PLACE, load_policy_set(SHIPPED)), policy) == PLACE


def test_resource_that_no_token_is_for_is_warned_of(tmp_path) -> None:
    other = ("routes.yaml", "hosts", "resource: {identifier: https://other.example}\nhosts")
    (warning,) = load_policy_set(write_set(tmp_path, other)).warnings
    assert (warning.code, warning.line, warning.column) == ("P063", 1, 24)


@pytest.mark.parametrize("text", ["", BEGIN, END, END + BEGIN, BEGIN + END + BEGIN, BEGIN + END + END])
def test_place_that_is_not_there_once_is_refused(text: str) -> None:
    with pytest.raises(PlaceMissing):
        with_metadata(text, load_policy_set(SHIPPED))


def run(*arguments: object):
    return CliRunner().invoke(app, ["envoy", "metadata", *(str(argument) for argument in arguments)])


def test_command_writes_what_changed_and_checks_without_writing(tmp_path) -> None:
    policies = copy_policies(tmp_path / "policies")
    file = tmp_path / "envoy.yaml"
    file.write_text(read_reference(), "utf-8")
    assert run(policies, file, "--check").exit_code == 0
    edit(policies / "routes.yaml", "name: Payments", "name: Money")
    assert run(policies, file, "--check").exit_code == 1
    assert file.read_text("utf-8") == read_reference()
    assert run(policies, file).exit_code == 0
    assert '"resource_name": "Money"' in file.read_text("utf-8")
    assert run(policies, file, "--check").exit_code == 0


def test_command_says_what_is_wrong_in_one_line(tmp_path) -> None:
    file = tmp_path / "envoy.yaml"
    assert (run(SHIPPED, file).exit_code, run(tmp_path, REFERENCE, "--check").exit_code) == (2, 1)
    file.write_bytes(b"\xff")
    assert "not UTF-8" in run(SHIPPED, file).stderr
    file.write_text("routes: []\n")
    result = run(SHIPPED, file)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
