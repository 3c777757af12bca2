"""A reload that loosens the binding of tokens says so; one that tightens it is silent."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import write_set
from policy.loader import load_policy_set

STRICT = "dpop: {nonce: required, past_seconds: 30, future_seconds: 5, algorithms: [ES256]}"


def load(root, dpop="", certificate="", demand=""):
    root.mkdir()
    changes = [
        ("providers.yaml", "    algorithms: [RS256]\n", f"    algorithms: [RS256]\n    {dpop}\n{certificate}\n"),
        ("routes.yaml", "    moves_money: true\n", f"    moves_money: true\n    {demand}\n"),
    ]
    return load_policy_set(write_set(root, *changes))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"dpop": "dpop: {}"}, "now takes tokens bound to DPoP keys"),
        (
            {"dpop": "dpop: {}", "demand": "sender_constraint: certificate"},
            {"dpop": "dpop: {replay: unchecked}", "demand": "sender_constraint: certificate"},
            "takes a DPoP proof more than once",
        ),
        ({"dpop": STRICT}, {"dpop": STRICT.replace("required", "off")}, "no longer requires nonces"),
        ({"dpop": STRICT}, {"dpop": STRICT.replace("30", "31")}, "takes DPoP proofs for longer"),
        ({"dpop": STRICT}, {"dpop": STRICT.replace("5,", "6,")}, "takes DPoP proofs for longer"),
        ({"dpop": STRICT}, {"dpop": STRICT.replace("[", "[PS256, ")}, "takes DPoP proofs signed with PS256"),
        (
            {},
            {"certificate": "client_certificate: {source: trusted_hop, trusted_hop: edge.example}"},
            "client certificates are believed from another place",
        ),
        ({"demand": "sender_constraint: any"}, {}, "operation pay: sender_constraint went from any to none"),
        (
            {"demand": "sender_constraint: certificate"},
            {"demand": "sender_constraint: any"},
            "sender_constraint went from certificate to any",
        ),
    ],
)
def test_each_loosening_is_one_sentence_and_the_way_back_none(tmp_path, before, after, said):
    old, new = load(tmp_path / "old", **before), load(tmp_path / "new", **after)
    (sentence,) = loosened(old, new)
    assert said in sentence
    assert loosened(new, old) == ([sentence] if "another place" in said else [])
    assert loosened(new, new) == []
