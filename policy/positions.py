"""From a path inside a file, or a place inside an expression, to line and column."""

from __future__ import annotations

import re
from collections.abc import Sequence as PathSequence
from dataclasses import dataclass
from typing import Final

from policy.diagnostics import Problem, Severity, caret_excerpt
from policy.reader import Mapping, Node, Scalar, Sequence, Source

Path = PathSequence[str | int]

_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n[ \t]*|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """One file that was read."""

    source: Source
    root: Node

    @property
    def name(self) -> str:
        """Return the file name relative to the policy directory."""
        return self.source.name

    def offset(self, path: Path) -> int:
        """Return where the node at `path` starts; the deepest known ancestor when it is not there."""
        node = self.root
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            node = child
        return node.start

    def key_offset(self, path: Path) -> int:
        """Return where the key that `path` ends with starts, or its parent when there is no such key."""
        node: Node | None = self.root
        for part in path[:-1]:
            node = _child(node, part) if node is not None else None
        if isinstance(node, Mapping) and path and str(path[-1]) in node.key_starts:
            return node.key_starts[str(path[-1])]
        return self.offset(path[:-1])

    def problem(self, path: Path, code: str, message: str, severity: Severity = "error") -> Problem:
        """Return a problem at the node at `path`."""
        line, column = self.source.place(self.offset(path))
        return Problem(self.name, line, column, code, message, severity=severity)

    def key_problem(self, path: Path, code: str, message: str) -> Problem:
        """Return a problem at the key that `path` ends with."""
        line, column = self.source.place(self.key_offset(path))
        return Problem(self.name, line, column, code, message)

    def text_problem(self, path: Path, place: tuple[int, int], code: str, message: str) -> Problem:
        """Return a problem inside a text value, with a caret.

        Args:
            path: Where the text stands.
            place: Line and column inside the text, 1-based.
            code: Code of docs/policy-errors.md.
            message: One sentence.
        """
        node = _find(self.root, path)
        offset = _text_offset(self.source.text, node, place) if isinstance(node, Scalar) else self.offset(path)
        line, column = self.source.place(offset)
        excerpt = caret_excerpt(self.source.line_text(line), column)
        return Problem(self.name, line, column, code, message, excerpt)


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node, Mapping):
        return node.items.get(str(part))
    if isinstance(node, Sequence) and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


def _find(node: Node, path: Path) -> Node | None:
    for part in path:
        child = _child(node, part)
        if child is None:
            return None
        node = child
    return node


def _text_offset(text: str, node: Scalar, place: tuple[int, int]) -> int:
    line, column = place
    lines = node.text.split("\n")
    wanted = sum(len(before) + 1 for before in lines[: max(0, line - 1)]) + max(0, column - 1)
    visible = sum(1 for char in node.text[:wanted] if not char.isspace())
    offsets = _visible_offsets(text, node)
    if visible < len(offsets):
        return offsets[visible]
    return offsets[-1] + 1 if offsets else node.start


def _visible_offsets(text: str, node: Scalar) -> list[int]:
    """Return the file offset of every character of a scalar that is not white space.

    Folding and indentation only ever add or take white space, so the visible characters of a value and of its
    spelling in the file are the same ones in the same order, escapes and doubled quotes aside.
    """
    start, end = node.start, node.end
    if node.style in ("|", ">"):
        start = text.find("\n", start, end) + 1 or end
    elif node.style in ("'", '"'):
        start, end = start + 1, end - 1
    offsets: list[int] = []
    position = start
    while position < end:
        width, is_visible = _step(text, position, node.style)
        if is_visible:
            offsets.append(position)
        position += width
    return offsets


def _step(text: str, position: int, style: str) -> tuple[int, bool]:
    char = text[position]
    if style == "'" and char == "'":
        return 2, True
    if style == '"' and char == "\\":
        match = _ESCAPE.match(text, position)
        if match:
            return len(match[0]), _is_visible_escape(match[1])
    return 1, not char.isspace()


def _is_visible_escape(escape: str) -> bool:
    if escape[0] in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
        return code > 0x10FFFF or not chr(code).isspace()
    # White space escapes, and an escaped line end; everything else stands for a visible character.
    return escape[0] not in "tnvfr NL_P\t\r\n"
