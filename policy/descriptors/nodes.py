"""Reads the first YAML document of a descriptor file into nodes that know where they stand.

envoyproxy/ratelimit reads YAML 1.1: anchors, aliases and merge keys are in use there, so they are read here, unlike
in the rest of a policy set. A mapping keeps its pairs as written: what a key means that stands twice is for the
caller to say. Nothing is ever constructed from a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from policy.diagnostics import Problem, ProblemList, Severity, quote
from policy.reader import FORBIDDEN, MAX_FILE_BYTES, Source

MAX_DEPTH: Final = 100
"""Levels of YAML; a level of descriptors takes two."""

_CONTENT: Final = re.compile(r"^[ \t]*([^\s#])", re.MULTILINE)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PLAIN_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text as written; `is_plain` without quotes, so that it may stand for a number, a truth value or nothing."""

    start: int
    text: str
    is_plain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list; an alias to it is the same object."""

    start: int
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A mapping with all its pairs; an alias to it is the same object."""

    start: int
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


class _Stop(Exception):  # noqa: N818 - never leaves this module
    """Nothing sensible can follow in this file."""


def read_first_document(
    name: str, data: bytes, problems: ProblemList, *, is_compat: bool
) -> tuple[Source, Node] | None:
    """Return the source and the root of its first document, or None when it cannot be read at all.

    Args:
        name: Of the file, for messages.
        data: Its bytes: UTF-8, with or without byte order mark.
        problems: Takes what is wrong.
        is_compat: What envoyproxy/ratelimit accepts is accepted: with a warning where two people would read it in two
            ways.
    """
    text = _decoded(name, data, problems)
    if text is None:
        return None
    source = Source.of(name, text)
    forbidden = FORBIDDEN.search(text)
    if forbidden:
        message = f"character U+{ord(forbidden[0]):04X} is invisible or a control character"
        line, column = source.place(forbidden.start())
        severity: Severity = "warning" if is_compat else "error"
        problems.add(Problem(name, line, column, "P004", message, severity=severity))
        if not is_compat:
            return None
    root = _Composer(source, problems, is_compat=is_compat).compose()
    return None if root is None else (source, root)


def _decoded(name: str, data: bytes, problems: ProblemList) -> str | None:
    if len(data) > MAX_FILE_BYTES:
        problems.add(Problem(name, 1, 1, "P002", "the file is larger than 1 MiB"))
        return None
    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        readable = data[: error.start].decode("utf-8")
        line, column = Source.of(name, readable).place(len(readable))
        problems.add(Problem(name, line, column, "P003", "the file is not UTF-8 text"))
        return None


@dataclass(slots=True)
class _Frame:
    """A collection being read; `key` is the mapping key whose value comes next."""

    node: Sequence | Mapping
    key: Node | None = None


class _Composer:
    """Turns the event stream into nodes, without recursion."""

    def __init__(self, source: Source, problems: ProblemList, *, is_compat: bool) -> None:
        self._source = source
        self._problems = problems
        self._is_compat = is_compat
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def compose(self) -> Node | None:
        """Return the root, or None after a problem that hides the structure."""
        try:
            for event in self._first_document():
                self._take(event)
        except _Stop:
            return None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            detail = getattr(error, "problem", None) or "it cannot be read"
            self._refuse(_offset(mark, self._source), "P005", f"error loading config file: {detail}")
            return None
        if self._root is None:
            self._refuse(0, "P011", "config file cannot have empty domain: there is nothing in the file")
        return self._root

    def _first_document(self) -> Iterator[yaml.Event]:
        """Yield what belongs to the first document; that more follows is told, but not read: it may be broken."""
        for event in yaml.parse(self._source.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            yield event
            if isinstance(event, yaml.DocumentStartEvent) and (event.version or event.tags):
                self._complain(_offset(event.start_mark, self._source), "P008", "a directive such as %YAML; remove it")
            if isinstance(event, yaml.DocumentEndEvent):
                end = _offset(event.end_mark, self._source)
                more = _CONTENT.search(self._source.text, end)
                if more:
                    message = "a second document: envoyproxy/ratelimit reads nothing of it; make it a file of its own"
                    self._complain(more.start(1), "P009", message)
                return

    def _refuse(self, offset: int, code: str, message: str) -> None:
        self._problems.add(self._source.problem(offset, code, message))

    def _complain(self, offset: int, code: str, message: str) -> None:
        line, column = self._source.place(offset)
        severity: Severity = "warning" if self._is_compat else "error"
        self._problems.add(Problem(self._source.name, line, column, code, message, severity=severity))

    def _take(self, event: yaml.Event) -> None:
        offset = _offset(event.start_mark, self._source)
        if isinstance(event, yaml.AliasEvent):
            self._place(self._aliased(event, offset))
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event, offset)
            self._push_or_place(Scalar(offset, event.value, not event.style and event.tag is None), event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, offset)
            self._push_or_place(Sequence(offset), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event, offset)
            self._push_or_place(Mapping(offset), event.anchor)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._stack.pop()

    def _aliased(self, event: yaml.AliasEvent, offset: int) -> Node:
        anchor = event.anchor or ""
        node = self._anchors.get(anchor)
        if node is None:
            self._refuse(offset, "P007", f"error loading config file: unknown anchor {quote(anchor)} referenced")
            raise _Stop
        if any(frame.node is node for frame in self._stack):
            message = f"error loading config file: anchor {quote(anchor)} value contains itself"
            self._refuse(offset, "P007", message)
            raise _Stop
        # A scalar's place is the alias: a rule that shares text with another is told where it stands itself.
        return Scalar(offset, node.text, node.is_plain) if isinstance(node, Scalar) else node

    def _check_tag(self, event: yaml.NodeEvent, offset: int) -> None:
        tag = getattr(event, "tag", None)
        if tag is None:
            return
        if tag in _PLAIN_TAGS:
            self._complain(offset, "P008", f"the tag {quote(str(tag))}; quotes make text of a value")
        else:
            self._refuse(offset, "P008", f"error loading config file: the tag {quote(str(tag))} is not read")

    def _push_or_place(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._place(node)
        if isinstance(node, Scalar):
            return
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(node.start, "P010", f"nested more than {MAX_DEPTH} levels deep")
            raise _Stop
        self._stack.append(_Frame(node))

    def _place(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            frame.node.pairs.append((frame.key, node))
            frame.key = None


def _offset(mark: Any, source: Source) -> int:
    return 0 if mark is None else min(int(mark.index), len(source.text))
