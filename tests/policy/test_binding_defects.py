"""Defects of sender constraints: their codes, the places pointed at (the mark), and twins that are sound."""

from __future__ import annotations

import pytest

from helpers.policy_sets import changed_set, marked_places, write_set
from policy.binding_codes import BINDING
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set
from policy.token_means import missing_token_means, needs_replay_store

PAY = ("routes.yaml", "    moves_money: true\n")
LOOK = ("routes.yaml", "    moves_money: false\n")
ALGORITHMS = ("providers.yaml", "    algorithms: [RS256]\n")


def provider(more: str) -> tuple[str, str, str]:
    return (*ALGORITHMS, f"    algorithms: [RS256]\n{more}")


def pay(more: str) -> tuple[str, str, str]:
    return (*PAY, f"    moves_money: true\n    {more}\n")


DEFECTS = [
    ("P090", [provider("    dpop: {replay: ⟦unchecked}\n")]),
    ("P090", [provider("    dpop: {replay: ⟦unchecked}\n"), pay("sender_constraint: dpop")]),
    ("P090", [provider("    dpop: {replay: ⟦unchecked}\n"), pay("sender_constraint: any")]),
    ("P091", [provider("client_certificate: {source: ⟦trusted_hop}\n")]),
    ("P091", [provider("client_certificate: {trusted_hop: ⟦edge.example}\n")]),
    ("P092", [pay("sender_constraint: ⟦dpop")]),
    ("P033", [provider("    dpop: {past_seconds: ⟦301}\n")]),
    ("P033", [provider("    dpop: {algorithms: [⟦HS256]}\n")]),
    ("P040", [provider("    dpop: {algorithms: [ES256, ⟦ES256]}\n")]),
]
FULL = """\
    dpop:
      algorithms: [ES256, PS256, EdDSA]
      past_seconds: 60
      future_seconds: 10
      replay: checked
      nonce: off
"""
SOUND = [
    [provider(FULL)],
    [provider("    dpop: {}\n")],
    [provider("    dpop: {}\n"), pay("sender_constraint: dpop")],
    [provider("    dpop: {replay: unchecked}\n"), pay("sender_constraint: certificate")],
    [provider("client_certificate: {source: trusted_hop, trusted_hop: edge.example}\n")],
    [pay("sender_constraint: certificate")],
]


@pytest.mark.parametrize(("code", "changes"), DEFECTS)
def test_defect_of_binding_is_reported_where_it_stands(tmp_path, code, changes):
    files = changed_set(*changes)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, *changes))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, code) for place in marked_places(files)]


@pytest.mark.parametrize("changes", SOUND)
def test_sound_twins_load(tmp_path, changes):
    assert load_policy_set(write_set(tmp_path, *changes)).warnings == ()


@pytest.mark.parametrize(
    ("dpop", "has_store", "has_nonce_key", "codes"),
    [
        ("{}", False, False, ["P093"]),
        ("{}", True, False, []),
        ("{nonce: required}", True, False, ["P094"]),
        ("{nonce: required}", False, False, ["P093", "P094"]),
        ("{nonce: required}", True, True, []),
    ],
)
def test_set_that_needs_a_store_or_a_nonce_key_is_not_served_without(tmp_path, dpop, has_store, has_nonce_key, codes):
    policy = load_policy_set(write_set(tmp_path, provider(f"    dpop: {dpop}\n")))
    assert needs_replay_store(policy)
    problems = missing_token_means(policy, has_store=has_store, has_nonce_key=has_nonce_key)
    assert [problem.code for problem in problems] == codes
    assert all((problem.file, problem.line) == ("providers.yaml", 6) for problem in problems)


def test_set_without_dpop_needs_neither(tmp_path):
    policy = load_policy_set(write_set(tmp_path))
    assert not needs_replay_store(policy)
    assert missing_token_means(policy, has_store=False, has_nonce_key=False) == ()


def test_every_code_of_binding_is_tested_here():
    assert {code for code, _ in DEFECTS} | {"P093", "P094"} >= set(BINDING)
