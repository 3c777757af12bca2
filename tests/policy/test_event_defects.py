"""`events` of a provider: what is refused, what is warned of, and which changes let less be ended."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import changed_set, marked_places, write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set

ALGORITHMS = ("providers.yaml", "    algorithms: [RS256]\n")
GOOD = "{audiences: [gate], transports: [logout, push]}"


def section(events: str, *, revocation: str = "\nrevocation: {}") -> tuple[str, str, str]:
    return (*ALGORITHMS, f"    algorithms: [RS256]\n    {events}{revocation}\n")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("P096", section(f"events: ⟦{GOOD}", revocation="")),
        ("P040", section("events: {audiences: [gate, ⟦gate], transports: [push]}")),
        ("P040", section("events: {audiences: [gate], transports: [push, ⟦push]}")),
        ("P033", section("events: {audiences: ⟦[], transports: [push]}")),
        ("P033", section("events: {audiences: [gate], transports: ⟦[]}")),
        ("P033", section("events: {audiences: [gate], transports: [⟦pull]}")),
        ("P033", section("events: {audiences: [gate], transports: [push], logout_ends: ⟦nothing}")),
    ],
)
def test_defect_is_reported_where_it_stands(tmp_path, code, change):
    files = changed_set(change)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, change))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, code) for place in marked_places(files)]


def test_session_that_no_access_token_names_is_warned_of(tmp_path):
    change = section("events: {audiences: [gate], transports: [logout], logout_ends: ⟦sid}")
    files = changed_set(change)
    warnings = [problem for problem in load_policy_set(write_set(tmp_path, change)).warnings if problem.code == "P097"]
    assert [(each.file, each.line, each.column) for each in warnings] == marked_places(files)


@pytest.mark.parametrize("more", ["", ", logout_ends: sub", ", logout_ends: both"])
def test_set_with_events_is_taken_without_a_warning(tmp_path, more):
    assert load_policy_set(write_set(tmp_path, section(f"events: {GOOD[:-1]}{more}}}"))).warnings == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (f"events: {GOOD}", "", "are no longer taken"),
        (f"events: {GOOD}", "events: {audiences: [gate], transports: [push]}", "no longer heard by logout"),
        (
            "events: {audiences: [gate, old], transports: [push]}",
            "events: {audiences: [gate], transports: [push]}",
            "when it names old",
        ),
        (f"events: {GOOD}", f"events: {GOOD[:-1]}, logout_ends: sub}}", "ends sub alone"),
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
