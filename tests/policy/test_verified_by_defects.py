"""Defects of providers that Envoy verifies: the places pointed at (the mark), and twins that are sound."""

from __future__ import annotations

import pytest

from helpers.policy_sets import changed_set, marked_places, write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set

ALGORITHMS = ("providers.yaml", "    algorithms: [RS256]\n")
ENVOY = "    verified_by: envoy_jwt_authn\n    payload_in_metadata: main_claims\n"
SECOND = """\
  - id: second
    issuer: https://second.example
    audiences: [https://api.example]
    algorithms: [RS256]
    verified_by: envoy_jwt_authn
    payload_in_metadata: {key}
"""


def provider(more: str) -> tuple[str, str, str]:
    return (*ALGORITHMS, f"    algorithms: [RS256]\n{more}")


DEFECTS = [
    provider("    verified_by: ⟦envoy_jwt_authn\n"),
    provider("    payload_in_metadata: ⟦main_claims\n"),
    provider(ENVOY + "    discovery: ⟦oidc\n"),
    provider(ENVOY + "    keys_stale_seconds: ⟦600\n"),
    provider(ENVOY + SECOND.format(key="⟦main_claims")),
]
SOUND = [
    provider(ENVOY),
    provider(ENVOY + "    dpop: {}\n    profile: keycloak\n"),
    provider(ENVOY + SECOND.format(key="second_claims")),
    ("providers.yaml", "    issuer: https://issuer.example\n", f"    issuer: http://a-name-only.example\n{ENVOY}"),
]


@pytest.mark.parametrize("change", DEFECTS)
def test_defect_is_reported_where_it_stands(tmp_path, change):
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, change))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, "P139") for place in marked_places(changed_set(change))]


def test_what_needs_keys_of_ours_does_not_go_with_envoys(tmp_path):
    events = "    events: {audiences: [https://gate.example], transports: [push]}\n"
    asking = "{endpoint: https://issuer.example/i, client_id: gate, authentication: private_key_jwt"
    for more in (
        events,
        f"    introspection: {asking}, reply: jwt}}\n",
        f"    introspection: {asking}, opaque_tokens: true}}\n",
    ):
        with pytest.raises(PolicyInvalid) as caught:
            load_policy_set(write_set(tmp_path, provider(ENVOY + more + "revocation: {}\n")))
        assert {problem.code for problem in caught.value.problems if problem.severity == "error"} == {"P139"}


@pytest.mark.parametrize("key", ["", "a key", "a/b", "a" * 65])
def test_key_that_no_envoy_file_should_have_is_refused(tmp_path, key):
    change = provider(f"    verified_by: envoy_jwt_authn\n    payload_in_metadata: '{key}'\n")
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, change))
    assert {problem.code for problem in caught.value.problems} == {"P033"}


@pytest.mark.parametrize("change", SOUND)
def test_sound_twin_loads(tmp_path, change):
    loaded = load_policy_set(write_set(tmp_path, change))
    assert loaded.providers.providers[0].verified_by == "envoy_jwt_authn"
