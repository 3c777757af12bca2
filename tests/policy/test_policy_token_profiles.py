"""Token profiles in providers.yaml: what each sets, and the warning that says what it gives up."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from extauthz.tokens.providers import compile_providers
from helpers.policy_sets import write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set


def _load(root, *lines):
    added = "".join(f"    {line}\n" for line in lines)
    last = "    algorithms: [RS256]\n"
    return load_policy_set(write_set(root, ("providers.yaml", last, last + added)))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("profile: keycloak", "'azp'"),
        ("typ: [JWT]", "payload_typ"),
        ("client_id_claim: azp", "client_id"),
        ("scope_claim: scp", "scope"),
        ("accept_scope_list: true", "list"),
    ],
)
def test_switch_is_warned_of_at_its_line(tmp_path, line, word):
    (warning,) = _load(tmp_path, line).warnings
    assert (warning.file, warning.line, warning.code) == ("providers.yaml", 6, "P064")
    assert word in warning.message


@pytest.mark.parametrize("line", ["profile: rfc9068", "typ: [at+jwt]", "client_id_claim: client_id"])
def test_what_rfc_9068_says_is_not_warned_of(tmp_path, line):
    assert _load(tmp_path, line).warnings == ()


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("payload_typ: [Bearer, ID]", 27),
        ("payload_typ: [Refresh]", 19),
        ("typ: [logout+jwt]", 11),
        ("profile: keycloack", 14),
        ("max_lifetime_seconds: 86401", 27),
    ],
)
def test_profile_that_takes_other_tokens_is_refused(tmp_path, line, column):
    with pytest.raises(PolicyInvalid) as caught:
        _load(tmp_path, line)
    (problem,) = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert (problem.line, problem.column, problem.code) == (6, column, "P033")


def test_profile_sets_what_is_not_set(tmp_path):
    (keycloak,) = compile_providers(_load(tmp_path / "a", "profile: keycloak").providers)
    assert keycloak.token_types == {"jwt", "at+jwt", "application/at+jwt"}
    assert (keycloak.client_id_claim, keycloak.shape.payload_types) == ("azp", {"Bearer", "DPoP"})
    (own,) = compile_providers(_load(tmp_path / "b", "profile: keycloak", "client_id_claim: client_id").providers)
    assert (own.client_id_claim, own.token_types) == ("client_id", keycloak.token_types)


def test_switches_that_loosen_are_told_at_a_reload(tmp_path):
    strict = _load(tmp_path / "a", "max_lifetime_seconds: 3600", "payload_typ: [Bearer]")
    loose = _load(tmp_path / "b", "client_id_claim: azp", "accept_scope_list: true", "typ: [JWT]")
    told = loosened(strict, loose)
    assert len(told) == 5
    assert all("provider main" in line for line in told)
    assert loosened(strict, strict) == []


def test_issuer_by_http_is_a_name_where_its_keys_come_from_elsewhere(tmp_path):
    http = ("providers.yaml", "https://issuer.example", "http://issuer.example")
    elsewhere = (
        "providers.yaml",
        "    algorithms",
        "    discovery: none\n    jwks_uri: https://keys.example/k\n    algorithms",
    )
    load_policy_set(write_set(tmp_path / "a", http, elsewhere))
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path / "b", http))
    assert [problem.code for problem in caught.value.problems] == ["P051"]
    by_http = (elsewhere[0], elsewhere[1], elsewhere[2].replace("https://keys", "http://keys"))
    with pytest.raises(PolicyInvalid):
        load_policy_set(write_set(tmp_path / "c", http, by_http))
