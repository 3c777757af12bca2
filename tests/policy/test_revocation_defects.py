"""`revocation` in providers.yaml: what is refused, what it needs, and which changes let more through."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import changed_set, marked_places, write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set
from policy.token_means import missing_revocation_means, missing_token_means

ALGORITHMS = ("providers.yaml", "    algorithms: [RS256]\n")


def section(text: str) -> tuple[str, str, str]:
    return (*ALGORITHMS, f"    algorithms: [RS256]\n{text}\n")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("P033", "revocation: {max_staleness_seconds: ⟦0}"),
        ("P033", "revocation: {max_staleness_seconds: ⟦301}"),
        ("P033", "revocation: {stale_refuses: ⟦nothing}"),
    ],
)
def test_defect_is_reported_where_it_stands(tmp_path, code, text):
    files = changed_set(section(text))
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, section(text)))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, code) for place in marked_places(files)]


def test_set_that_refuses_revoked_tokens_is_not_served_without_a_store(tmp_path):
    policy = load_policy_set(write_set(tmp_path, section("revocation: {}")))
    (problem,) = missing_revocation_means(policy, has_store=False)
    assert (problem.file, problem.code) == ("providers.yaml", "P095")
    assert missing_revocation_means(policy, has_store=True) == ()
    assert missing_token_means(policy, has_store=False, has_nonce_key=False) == ()


def test_set_without_the_section_needs_none(tmp_path):
    policy = load_policy_set(write_set(tmp_path))
    assert missing_revocation_means(policy, has_store=False) == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("revocation: {}", "", "revoked tokens pass until they expire"),
        ("revocation: {}", "revocation: {max_staleness_seconds: 6}", "may be 6 s old"),
        ("revocation: {stale_refuses: all}", "revocation: {}", "that move no money go on"),
    ],
)
def test_each_loosening_is_one_sentence_and_the_way_back_none(tmp_path, before, after, said):
    sets = []
    for name, text in (("old", before), ("new", after)):
        (tmp_path / name).mkdir()
        sets.append(load_policy_set(write_set(tmp_path / name, section(text))))
    (sentence,) = loosened(*sets)
    assert said in sentence
    assert loosened(*reversed(sets)) == []
