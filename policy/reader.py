"""Reads one YAML file into nodes that know where they stand.

Only this module imports yaml, and only its event stream: nothing is ever constructed from tags. The subset
is what two people read the same way: scalars keep their spelling (`NO` stays `NO`, `0742` stays `0742`), and
anchors, aliases, tags, directives, several documents, duplicate keys and empty values are problems.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from policy.diagnostics import Problem, ProblemList, quote

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

# Control characters, lone carriage returns, line breaks that only YAML sees, and characters that are invisible
# or reorder what a reviewer sees: two people would read such a file in two ways.
FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]"
    "|\r(?!\n)"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text; `style` is the YAML style sign, empty for plain."""

    start: int
    end: int
    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    start: int
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; `key_starts` says where each key stands."""

    start: int
    items: dict[str, Node] = field(default_factory=dict)
    key_starts: dict[str, int] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text with its line starts."""

    name: str
    text: str
    line_starts: tuple[int, ...]

    @classmethod
    def of(cls, name: str, text: str) -> Source:
        """Index the lines of `text`."""
        return cls(name, text, (0, *(match.end() for match in re.finditer("\n", text))))

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column, both 1-based, of a character offset."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """Return one line without its end."""
        start = self.line_starts[line - 1]
        end = self.line_starts[line] if line < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def problem(self, offset: int, code: str, message: str) -> Problem:
        """Return a problem at a character offset."""
        line, column = self.place(offset)
        return Problem(self.name, line, column, code, message)


class _Stop(Exception):  # noqa: N818 - never leaves this module
    """Nothing sensible can follow in this file."""


def read_yaml(name: str, data: bytes, problems: ProblemList) -> tuple[Source, Node] | None:
    """Return the source and its root node, or None when the file cannot be read at all.

    Problems that leave the structure clear are added and reading goes on, so that one run names them all.
    """
    if len(data) > MAX_FILE_BYTES:
        problems.add(Problem(name, 1, 1, "P002", "the file is larger than 1 MiB"))
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        readable = data[: error.start].decode("utf-8")
        line, column = Source.of(name, readable).place(len(readable))
        problems.add(Problem(name, line, column, "P003", "the file is not UTF-8 text"))
        return None
    source = Source.of(name, text)
    forbidden = FORBIDDEN.search(text)
    if forbidden:
        message = f"character U+{ord(forbidden[0]):04X} is invisible or a control character"
        problems.add(source.problem(forbidden.start(), "P004", message))
        return None
    root = _Reader(source, problems).read()
    return None if root is None else (source, root)


@dataclass(slots=True)
class _Frame:
    """A collection being read; `key` is the mapping key whose value comes next."""

    node: Sequence | Mapping
    key: str | None = None
    is_value_next: bool = False


class _Reader:
    """Turns the event stream into nodes, without recursion."""

    def __init__(self, source: Source, problems: ProblemList) -> None:
        self._source = source
        self._problems = problems
        self._stack: list[_Frame] = []
        self._root: Node | None = None

    def read(self) -> Node | None:
        """Return the root node, or None after a problem that hides the structure."""
        try:
            for event in self._events():
                self._take(event)
        except _Stop:
            return None
        except yaml.YAMLError as error:
            self._add_syntax_error(error)
            return None
        if self._root is None:
            self._add(0, "P011", "the file is empty")
        return self._root

    def _events(self) -> Iterator[yaml.Event]:
        yield from yaml.parse(self._source.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def _add(self, offset: int, code: str, message: str) -> None:
        self._problems.add(self._source.problem(offset, code, message))

    def _add_syntax_error(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        offset = min(mark.index, len(self._source.text)) if mark else 0
        text = self._source.text
        if text[offset : offset + 1] == "\t":
            message = "a tab is used for indentation; use spaces"
        else:
            detail = getattr(error, "problem", None) or "it cannot be read"
            message = f"not valid YAML: {detail}"
        self._add(offset, "P005", message)

    def _take(self, event: yaml.Event) -> None:
        offset, end = _offset(event.start_mark), _offset(event.end_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            self._take_document(event, offset)
        elif isinstance(event, yaml.AliasEvent):
            self._add(offset, "P007", "aliases are not allowed; write the value out")
            self._place(Scalar(offset, end, "", "*"))
        elif isinstance(event, yaml.ScalarEvent):
            self._check_properties(event, offset)
            self._place(Scalar(offset, end, event.value, event.style or ""))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_properties(event, offset)
            self._push(Sequence(offset))
        elif isinstance(event, yaml.MappingStartEvent):
            self._check_properties(event, offset)
            self._push(Mapping(offset))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._stack.pop()

    def _take_document(self, event: yaml.DocumentStartEvent, offset: int) -> None:
        if event.version or event.tags:
            self._add(offset, "P008", "directives such as %YAML are not allowed")
        if self._root is not None:
            self._add(offset, "P009", "a file holds one document; remove the second '---'")
            raise _Stop

    def _check_properties(self, event: yaml.NodeEvent, offset: int) -> None:
        if event.anchor is not None:
            self._add(offset, "P007", "anchors are not allowed; write the value out where it is needed")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._add(offset, "P008", f"tags such as {quote(str(tag))} are not allowed")

    def _push(self, node: Sequence | Mapping) -> None:
        self._place(node)
        if len(self._stack) >= MAX_DEPTH:
            self._add(node.start, "P010", f"nested more than {MAX_DEPTH} levels deep")
            raise _Stop
        self._stack.append(_Frame(node))

    def _place(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node, Sequence):
            self._check_value(node)
            frame.node.items.append(node)
        elif not frame.is_value_next:
            frame.key = self._read_key(node, frame.node)
            frame.is_value_next = True
        else:
            self._check_value(node)
            frame.is_value_next = False
            if frame.key is not None:
                frame.node.items[frame.key] = node

    def _read_key(self, node: Node, mapping: Mapping) -> str | None:
        if not isinstance(node, Scalar) or _is_null(node):
            self._add(node.start, "P012", "a key must be a plain word")
            return None
        if node.text in mapping.key_starts:
            line, _ = self._source.place(mapping.key_starts[node.text])
            self._add(node.start, "P006", f"key {quote(node.text)} stands twice; the first one is on line {line}")
            return None
        mapping.key_starts[node.text] = node.start
        return node.text

    def _check_value(self, node: Node) -> None:
        if isinstance(node, Scalar) and _is_null(node):
            self._add(node.start, "P011", "a value is missing here; write one or remove the key")


def _offset(mark: Any) -> int:
    return 0 if mark is None else int(mark.index)


def _is_null(node: Scalar) -> bool:
    return node.style == "" and node.text in ("", "~", "null", "Null", "NULL")


def plain_value(node: Node) -> object:
    """Return the node as dict, list and str, for the schema models."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain_value(item) for item in node.items]
    return {key: plain_value(item) for key, item in node.items.items()}
