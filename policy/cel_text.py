"""What must be known of a CEL text before it is compiled: tokens, `present("...")`, forbidden macros.

`present` is ours: CEL's own `has()` does not work on attributes, which are variables with a dotted name and not
fields. A call becomes a boolean variable of the same width, so that places in messages stay true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from policy.diagnostics import did_you_mean, quote

PRESENT_PREFIX: Final = "present."

_TOKEN: Final = re.compile(
    r"""
    (?P<string>[bBrR]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<comment>//[^\n]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<space>\s+)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PRESENT_CALL: Final = re.compile(r"present[ \t]*\([ \t]*(?:\"([^\"\\\n]*)\"|'([^'\\\n]*)')[ \t]*\)")


class CelInvalid(Exception):  # noqa: N818 - house word: policy is invalid
    """An expression that must not be used.

    Attributes:
        line: Line inside the expression, 1-based.
        column: Column inside the expression, 1-based.
        message: One sentence for its author.
    """

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(line, column, message)
        self.line = line
        self.column = column
        self.message = message

    def __str__(self) -> str:
        """Return place and message."""
        return f"{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class PreparedText:
    """A text that is ready for the compiler.

    Attributes:
        text: As written, `present` calls replaced by variables.
        present_names: Attributes whose presence the text asks for.
    """

    text: str
    present_names: frozenset[str]


def prepare(text: str, known: Collection[str]) -> PreparedText:
    """Return the text for the compiler.

    Args:
        text: The expression as its author wrote it.
        known: Attribute names.

    Raises:
        CelInvalid: For `has(...)`, and for `present` with anything but one literal attribute name.
    """
    parts: list[str] = []
    names: set[str] = set()
    position, previous = 0, ""
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # cannot happen: `sign` takes any character
            break
        lexeme = match[0]
        is_free_word = match.lastgroup == "word" and previous != "."
        if is_free_word and lexeme == "has":
            raise _invalid_at(text, position, 'has() does not work on attributes; write present("card.country")')
        if is_free_word and lexeme == "present":
            lexeme, name = _present_variable(text, position, known)
            names.add(name)
        parts.append(lexeme)
        position += len(lexeme)
        if match.lastgroup not in ("space", "comment"):
            previous = lexeme
    return PreparedText("".join(parts), frozenset(names))


def _present_variable(text: str, position: int, known: Collection[str]) -> tuple[str, str]:
    match = _PRESENT_CALL.match(text, position)
    if match is None:
        raise _invalid_at(text, position, 'present takes one attribute name in quotes: present("card.country")')
    name = match[1] if match[1] is not None else match[2]
    if name not in known:
        hint = did_you_mean(name, known)
        raise _invalid_at(text, position + match[0].index(name), f"unknown attribute {quote(name)}{hint}")
    return (PRESENT_PREFIX + name).ljust(len(match[0])), name


def _invalid_at(text: str, offset: int, message: str) -> CelInvalid:
    line = text.count("\n", 0, offset) + 1
    return CelInvalid(line, offset - (text.rfind("\n", 0, offset) + 1) + 1, message)


def is_balanced(text: str) -> bool:
    """Say whether brackets outside strings match: only then may a text stand inside brackets of ours."""
    pairs = {")": "(", "]": "[", "}": "{"}
    depth: list[str] = []
    for match in _TOKEN.finditer(text):
        sign = match[0] if match.lastgroup == "sign" else ""
        if sign in ("(", "[", "{"):
            depth.append(sign)
        elif sign in pairs and (not depth or depth.pop() != pairs[sign]):
            return False
    return not depth


_SYNTAX: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"mismatched input '<EOF>'"), lambda match: "the expression ends too early"),
    (re.compile(r"(?:mismatched|extraneous) input '(.*?)' expecting"), lambda match: f"unexpected {quote(match[1])}"),
    (re.compile(r"token recognition error at: '(.*)'"), lambda match: f"unexpected {quote(match[1])}"),
    (re.compile(r"no viable alternative at input '(.*)'"), lambda match: f"unexpected {quote(match[1])}"),
    (
        re.compile(r"found no matching overload for '(.*?)' applied to '\((.*)\)'"),
        lambda match: f"{quote(match[1].strip('_@'))} does not work on ({match[2]})",
    ),
    (re.compile(r"[Rr]ecursion"), lambda match: "nested too deeply, or too long a chain; split the rule"),
    (re.compile(r"Iteration budget"), lambda match: "too much work in one expression"),
)
_PLACE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(.*?)'")


def explain(error_text: str, text: str, known: Collection[str]) -> CelInvalid:
    """Return the compiler's first complaint in the words of the policy guide."""
    place = _PLACE.search(error_text)
    line, column, detail = (int(place[1]), int(place[2]), place[3]) if place else (1, 1, error_text.split("\n")[0])
    line, column = max(1, line), max(1, column)
    undeclared = _UNDECLARED.search(detail)
    if undeclared:
        name = undeclared[1].removeprefix(PRESENT_PREFIX)
        column = _name_column(text, line, column, undeclared[1])
        return CelInvalid(line, column, f"unknown attribute or function {quote(name)}{did_you_mean(name, known)}")
    for pattern, phrase in _SYNTAX:
        match = pattern.search(detail)
        if match:
            return CelInvalid(line, column, phrase(match))
    return CelInvalid(line, column, detail.removeprefix("Syntax error: ").removesuffix(" [INVALID_ARGUMENT]"))


def _name_column(text: str, line: int, column: int, name: str) -> int:
    """Return where a dotted name starts; the compiler points at its last dot."""
    lines = text.split("\n")
    start = column - 1 - name.rfind(".")
    if "." in name and start >= 0 and line <= len(lines) and lines[line - 1].startswith(name, start):
        return start + 1
    return column
