"""What descriptor files become: frozen trees that one request is looked up in by a dictionary walk.

The reader beside this module builds them at load; the rate-limit service walks them for each descriptor. A level
is asked once per entry: exact value first, then wildcards in file order, then the rule for every value of the key
(envoyproxy/ratelimit, `GetLimit`). There is no way back up and no falling back to a parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Unit = Literal["second", "minute", "hour", "day", "week", "month", "year"]

UNIT_SECONDS: Final[Mapping[Unit, int]] = MappingProxyType(
    {
        "second": 1,
        "minute": 60,
        "hour": 3_600,
        "day": 86_400,
        "week": 604_800,
        "month": 2_592_000,
        "year": 31_536_000,
    }
)
"""Length of each window in seconds: windows are multiples of it since 1970-01-01T00:00:00Z, so a month is 30 days,
a year 365 days, and a week starts on Thursday."""

MAX_REQUESTS_PER_UNIT: Final = 2**32 - 1
"""Largest limit: the field is a uint32 on the wire."""

Json = str | int | float | bool | None | tuple["Json", ...] | Mapping[str, "Json"]
"""A frozen JSON value."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule stands.

    Attributes:
        file: Name relative to the directory.
        line: 1-based.
        column: 1-based.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """Return file:line:column."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A limit at the end of a path of keys.

    Attributes:
        id: Keys and values of the path from its domain on, joined with "." and "_": what a metric and a record
            name. Request values are never in it, so there are as many as rules.
        place: Where its `rate_limit` stands.
        requests_per_unit: Highest count within a window, 0 to 4294967295; 0 refuses all.
        unit: Its window; None exactly when `is_unlimited`.
        is_unlimited: Never counted.
        name: Returned in `current_limit.name`, and what `replaces` of others means; may be empty.
        replaces: Names of limits that do not count in a request where this one matches.
        is_shadow: Counted, and answered OK whatever the count.
        is_quota: Over limit overall only when all quota limits of the request are over.
        has_detailed_metric: Whoever wrote the rule wants request values in its metric.
        metadata: Returned in dynamic metadata for a descriptor that passed.
    """

    id: str
    place: Place
    requests_per_unit: int
    unit: Unit | None
    is_unlimited: bool = False
    name: str = ""
    replaces: frozenset[str] = frozenset()
    is_shadow: bool = False
    is_quota: bool = False
    has_detailed_metric: bool = False
    metadata: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def window_seconds(self) -> int:
        """Return the length of the window; 0 when unlimited."""
        return 0 if self.unit is None else UNIT_SECONDS[self.unit]


@dataclass(frozen=True, slots=True)
class Node:
    """One descriptor of a file.

    Attributes:
        key: As written.
        value: As written; empty: every value of the key.
        place: Where it stands.
        limit: What a request is held to whose last entry leads here; None: no limit at all.
        children: The level below, or None.
        shared_value: For a wildcard with `share_threshold`: its pattern, which stands in the counter key instead of
            the request's value. None: the request's value.
        has_value_metric: The request's value belongs into the metric (`value_to_metric`).
    """

    key: str
    value: str
    place: Place
    limit: LimitRule | None = None
    children: Level | None = None
    shared_value: str | None = None
    has_value_metric: bool = False


class Pattern:
    """Text with `*`, each of which stands for any characters or none.

    Linear in the text's length for each `*`: a caller chooses the text, so a regular expression that goes back
    and forth would be his to slow down.
    """

    __slots__ = ("_first", "_inner", "_last", "_shortest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parts = text.split("*")
        self._first, self._last = parts[0], parts[-1]
        self._inner: tuple[str, ...] = tuple(parts[1:-1])
        self._shortest = sum(map(len, parts))

    def matches(self, text: str) -> bool:
        """Tell whether all of `text` fits."""
        if "*" not in self.text:
            return text == self.text
        if len(text) < self._shortest or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        position, end = len(self._first), len(text) - len(self._last)
        for part in self._inner:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    def __repr__(self) -> str:
        """Return the pattern as written."""
        return f"Pattern({self.text!r})"


@dataclass(frozen=True, slots=True)
class TypedLevel:
    """The descriptors of one list; key and value are told apart.

    Attributes:
        exact: By key and value; neither empty.
        wildcards: Patterns of values by key, in file order; the first that fits counts.
        by_key: Those without value, by key.
    """

    exact: Mapping[tuple[str, str], Node]
    wildcards: Mapping[str, tuple[tuple[Pattern, Node], ...]]
    by_key: Mapping[str, Node]

    def find(self, key: str, value: str) -> Node | None:
        """Return the descriptor that an entry leads to."""
        node = self.exact.get((key, value))
        if node is not None:
            return node
        for pattern, candidate in self.wildcards.get(key, ()):
            if pattern.matches(value):
                return candidate
        return self.by_key.get(key)


@dataclass(frozen=True, slots=True)
class JoinedLevel:
    """The same as envoyproxy/ratelimit looks it up: by the text `key_value`, where a_b with c is a with b_c.

    Attributes:
        joined: Every descriptor by `key`, or by `key_value` where it has a value.
        patterns: Joined texts with a `*`, in file order.
    """

    joined: Mapping[str, Node]
    patterns: tuple[tuple[Pattern, Node], ...]

    def find(self, key: str, value: str) -> Node | None:
        """Return the descriptor that an entry leads to (`GetLimit`; an empty value is looked up as `key_`)."""
        text = f"{key}_{value}"
        node = self.joined.get(text)
        if node is not None:
            return node
        for pattern, candidate in self.patterns:
            if pattern.matches(text):
                return candidate
        return self.joined.get(key)


Level = TypedLevel | JoinedLevel
"""The descriptors of one list; a set is made of one kind alone."""


def level_nodes(level: Level) -> tuple[Node, ...]:
    """Return the descriptors of a level."""
    if isinstance(level, JoinedLevel):
        return tuple(level.joined.values())
    return (*level.exact.values(), *level.by_key.values())


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain; names are compared exactly.

    Attributes:
        name: Never empty, never `tollhouse`.
        root: Its first level.
        files: Those that its rules come from.
    """

    name: str
    root: Level
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DescriptorSet:
    """All descriptor files of a directory or policy set.

    Attributes:
        revision: 16 hex digits over names and contents.
        domains: By name.
        is_compat: Read and matched as envoyproxy/ratelimit does, its surprises included.
    """

    revision: str
    domains: Mapping[str, Domain]
    is_compat: bool = False
