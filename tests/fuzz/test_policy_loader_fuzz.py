"""Any bytes as a policy directory: a loaded set or PolicyInvalid, never another exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.policy_sets import SMALL_SET, write_set
from policy.cel import CelInvalid, CelRules
from policy.diagnostics import MAX_PROBLEMS, PolicyInvalid, Problem, render_text
from policy.loader import load_policy_set

NAMES = st.sampled_from(sorted(SMALL_SET))
CEL = CelRules()

# Pieces that mean something to a YAML reader, to the models or to CEL, in any order.
SIGNS = (
    "- |: |? |&a |*a|!!int |>-\n|{|}|[|]|'|\"|#|\n|\n  |\t|---\n|...\n|%YAML 1.2\n|<<|~|\\u0000|\r|\u2028|\ufeff|\x00"
)
WORDS = 'null true 0742 1e9 -1 é rules id when has( present(" card.country && == /0 limit files'
PIECES = st.sampled_from([*SIGNS.split("|"), *WORDS.split(), "||", "|\n"])

SCALARS = st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none(), st.floats(), st.dates())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=12,
)


def load(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_set(Path(folder))
        for name, content in files.items():
            (root / name).write_bytes(content)
        try:
            load_policy_set(root)
            return
        except PolicyInvalid as error:
            problems = error.problems
    check_printable(problems)


def check_printable(problems: tuple[Problem, ...]) -> None:
    assert 0 < len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)
    assert render_text(problems).encode("utf-8")


@given(name=NAMES, content=st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_in_one_file(name, content):
    load({name: content})


@given(name=NAMES, pieces=st.lists(PIECES, max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_order_of_meaningful_pieces_in_one_file(name, pieces):
    load({name: "".join(pieces).encode("utf-8", "surrogatepass")})


@given(name=NAMES, at=st.integers(0, 1000), cut=st.integers(0, 20), piece=PIECES)
@settings(max_examples=300, deadline=None)
def test_any_small_damage_to_a_valid_file(name, at, cut, piece):
    text = SMALL_SET[name]
    at %= len(text)
    load({name: (text[:at] + piece + text[at + cut :]).encode("utf-8", "surrogatepass")})


@given(name=NAMES, tree=TREES)
@settings(max_examples=200, deadline=None)
def test_any_tree_in_one_file(name, tree):
    load({name: yaml.safe_dump(tree).encode()})


@given(name=NAMES, path=st.lists(st.integers(0, 10), max_size=6), tree=TREES)
@settings(max_examples=300, deadline=None)
def test_any_tree_in_place_of_a_node_of_a_valid_file(name, path, tree):
    root = yaml.safe_load(SMALL_SET[name])
    node, keys = root, list(range(len(root))) if isinstance(root, list) else list(root)
    for step in path:
        key = keys[step % len(keys)]
        child = node[key]
        if not isinstance(child, (dict, list)) or not child:
            break
        node, keys = child, list(range(len(child))) if isinstance(child, list) else list(child)
    node[keys[sum(path) % len(keys)]] = tree
    load({name: yaml.safe_dump(root).encode()})


@given(text=st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_as_expression(text):
    try:
        program = CEL.compile(text)
    except CelInvalid as error:
        place = (error.line, error.column)
    else:
        place = (1, 1)
        program.evaluate({})
    assert min(place) >= 1
