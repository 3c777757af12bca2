"""Places inside a text value: wherever the text starts, whatever quoting and folding stand between."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.policy_sets import MARK
from policy.diagnostics import ProblemList
from policy.positions import Document
from policy.reader import Mapping, Scalar, read_yaml


def read(text: str) -> Document:
    problems = ProblemList()
    found = read_yaml("risk.yaml", text.encode(), problems)
    assert found is not None, problems.problems
    return Document(*found)


STYLES = {
    "plain": "when: a == b && ⟦bad\n",
    "plain over two lines": "when: a == b &&\n  c && ⟦bad\nnext: x\n",
    "single quoted": "when: 'a == ''x'' && ⟦bad'\n",
    "double quoted": 'when: "a == \\"x\\" && ⟦bad"\n',
    "double quoted with escapes": 'when: "a\\x20\\u003d\\t= \\\\ \\n ⟦bad"\n',
    "double quoted with a folded line": 'when: "a \\\n    && ⟦bad"\n',
    "literal": "when: |\n  a == b &&\n    ⟦bad\n",
    "literal with indentation sign": "when: |2\n    a == b &&\n  ⟦bad\n",
    "folded": "when: >-\n  a == b\n  && c\n\n  && ⟦bad\n",
    "literal after a comment": "when: | # why\n  a &&\n  ⟦bad\n",
    "beyond the basic plane": "when: \"'\N{GRINNING FACE}é' == ⟦bad\"\n",
}


@pytest.mark.parametrize("text", STYLES.values(), ids=STYLES.keys())
def test_place_inside_a_text_is_found_in_the_file(text):
    document = read(text.replace(MARK, ""))
    assert isinstance(document.root, Mapping)
    node = document.root.items["when"]
    assert isinstance(node, Scalar)
    before = node.text[: node.text.index("bad")]
    place = (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
    problem = document.text_problem(("when",), place, "P080", "here")
    line_before = text[: text.index(MARK)]
    expected = (line_before.count("\n") + 1, len(line_before) - (line_before.rfind("\n") + 1) + 1)
    assert (problem.line, problem.column) == expected


def test_caret_stands_under_the_place():
    problem = read("when: a == bad\n").text_problem(("when",), (1, 6), "P080", "here")
    source, caret = problem.excerpt.split("\n")
    assert source[caret.index("^") :] == "bad"


def test_place_behind_the_end_is_the_end():
    problem = read("when: a ==\n").text_problem(("when",), (1, 99), "P080", "here")
    assert (problem.line, problem.column) == (1, 11)


def test_place_in_an_empty_text_is_where_it_stands():
    problem = read("when: ''\n").text_problem(("when",), (1, 1), "P080", "here")
    assert (problem.line, problem.column) == (1, 7)


@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" \n'\"\\:#"), min_size=1
    ),
    style=st.sampled_from(["", "'", '"', "|", ">"]),
    width=st.sampled_from([10, 1000]),
)
def test_every_visible_character_is_found_again(text, style, width):
    written = yaml.safe_dump({"when": text}, default_style=style or None, allow_unicode=True, width=width)
    problems = ProblemList()
    found = read_yaml("risk.yaml", written.encode(), problems)
    if found is None:
        return  # characters that policy files may not hold
    document = Document(*found)
    line, column = 1, 1
    for char in text:
        if char == "\n":
            line, column = line + 1, 1
            continue
        if not char.isspace():
            problem = document.text_problem(("when",), (line, column), "P080", "here")
            there = document.source.line_text(problem.line)[problem.column - 1 :]
            assert there.startswith((char, "\\"))
        column += 1
