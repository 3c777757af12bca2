"""Builds the tree of one descriptor file; `reader` puts the files of a set together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

from policy.descriptors.fields import (
    DESCRIPTOR_FIELDS,
    LIMIT_FIELDS,
    REPLACES_FIELDS,
    ROOT_FIELDS,
    Fields,
    FileFields,
    TooMuch,
)
from policy.descriptors.metadata import read_metadata
from policy.descriptors.nodes import Mapping, Scalar
from policy.descriptors.nodes import Node as YamlNode
from policy.descriptors.spelling import is_null
from policy.descriptors.tree import UNIT_SECONDS, JoinedLevel, Level, LimitRule, Node, Pattern, Place, TypedLevel, Unit
from policy.diagnostics import quote

MAX_LEVELS: Final = 48
"""Levels of descriptors; a request has as many entries as the level of the limit it is held to."""


@dataclass(frozen=True, slots=True)
class FileTree:
    """One file.

    Attributes:
        fields: Its fields, for what is found later.
        domain: Its domain; empty when that was refused.
        domain_start: Where the domain stands.
        root: The descriptors of its first level, in file order.
    """

    fields: FileFields
    domain: str
    domain_start: int
    root: tuple[Node, ...]


def build_file(fields: FileFields, root: YamlNode) -> FileTree | None:
    """Return the tree of a file, or None when nothing of it can be told apart; problems are in `fields.problems`."""
    if is_null(root):
        fields.refuse(root.start, "P120", "config file cannot have empty domain")
        return None
    if not isinstance(root, Mapping):
        fields.refuse(
            root.start, "P032", "error loading config file: the file takes keys with values: domain, descriptors"
        )
        return None
    try:
        return _Builder(fields).build(root)
    except TooMuch:
        return None


def make_level(nodes: Iterable[Node], *, is_compat: bool) -> Level:
    """Return nodes of one level as what requests are looked up in."""
    nodes = tuple(nodes)
    if is_compat:
        joined = {joined_text(node.key, node.value): node for node in nodes}
        return JoinedLevel(joined, tuple((Pattern(text), node) for text, node in joined.items() if "*" in text))
    wildcards: dict[str, list[tuple[Pattern, Node]]] = {}
    for node in nodes:
        if "*" in node.value:
            wildcards.setdefault(node.key, []).append((Pattern(node.value), node))
    return TypedLevel(
        exact={(node.key, node.value): node for node in nodes if node.value},
        wildcards={key: tuple(patterns) for key, patterns in wildcards.items()},
        by_key={node.key: node for node in nodes if not node.value},
    )


def joined_text(key: str, value: str) -> str:
    """Return what envoyproxy/ratelimit keeps a descriptor under."""
    return f"{key}_{value}" if value else key


class Duplicates:
    """Finds the descriptor that a level holds already."""

    def __init__(self, *, is_compat: bool) -> None:
        self._is_compat = is_compat
        self._seen: set[object] = set()

    def is_new(self, key: str, value: str) -> bool:
        """Remember a descriptor; false when there is one that no lookup could tell from it."""
        identity: object = joined_text(key, value) if self._is_compat else (key, value)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True


class _Builder:
    """Walks one file from its root down."""

    def __init__(self, fields: FileFields) -> None:
        self._fields = fields

    def build(self, root: Mapping) -> FileTree:
        fields = self._fields.of(root, ROOT_FIELDS)
        domain = self._fields.text(fields, "domain")
        written = fields.get("domain", root)
        if not domain and (written is root or isinstance(written, Scalar)):
            self._fields.refuse(written.start, "P120", "config file cannot have empty domain")
        return FileTree(self._fields, domain, written.start, self._nodes(fields, domain, 1))

    def _nodes(self, fields: Fields, parent: str, depth: int) -> tuple[Node, ...]:
        mappings = self._fields.mappings(fields, "descriptors")
        if mappings and depth > MAX_LEVELS:
            self._fields.refuse(mappings[0].start, "P010", f"descriptors nested more than {MAX_LEVELS} levels deep")
            raise TooMuch
        duplicates = Duplicates(is_compat=self._fields.is_compat)
        nodes = []
        for mapping in mappings:
            node = self._node(mapping, parent, depth)
            if node is None:
                continue
            if duplicates.is_new(node.key, node.value):
                nodes.append(node)
            else:
                composite = f"{parent}.{joined_text(node.key, node.value)}"
                message = f"duplicate descriptor composite key {quote(composite)}"
                self._fields.refuse(mapping.start, "P124", message)
        return tuple(nodes)

    def _node(self, mapping: Mapping, parent: str, depth: int) -> Node | None:
        fields = self._fields.of(mapping, DESCRIPTOR_FIELDS)
        key, value = self._fields.text(fields, "key"), self._fields.text(fields, "value")
        if not key:
            start = fields["key"].start if "key" in fields else mapping.start
            self._fields.refuse(start, "P123", "descriptor has empty key")
        if "*" in key:
            message = "a `*` in a key: envoyproxy/ratelimit matches it against key and value joined by `_`"
            self._fields.complain(fields["key"].start, "P132", message)
        path = f"{parent}.{joined_text(key, value)}"
        is_shared = self._fields.flag(fields, "share_threshold")
        if is_shared and "*" not in value:
            start = fields["share_threshold"].start
            self._fields.refuse(start, "P128", "share_threshold can only be used with wildcard values")
        limit = self._limit(fields, path)
        children = self._nodes(fields, path, depth + 1)
        if not key:
            return None
        return Node(
            key=key,
            value=value,
            place=self._place(mapping.start),
            limit=limit,
            children=make_level(children, is_compat=self._fields.is_compat) if children else None,
            shared_value=value if is_shared else None,
            has_value_metric=self._fields.flag(fields, "value_to_metric"),
        )

    def _limit(self, descriptor: Fields, path: str) -> LimitRule | None:
        flags = {
            "is_shadow": self._fields.flag(descriptor, "shadow_mode"),
            "is_quota": self._fields.flag(descriptor, "quota_mode"),
            "has_detailed_metric": self._fields.flag(descriptor, "detailed_metric"),
        }
        metadata = read_metadata(self._fields, descriptor.get("metadata"))
        mapping = self._fields.mapping(descriptor, "rate_limit")
        if mapping is None:
            return None
        fields = self._fields.of(mapping, LIMIT_FIELDS)
        name = self._fields.text(fields, "name")
        is_unlimited = self._fields.flag(fields, "unlimited")
        unit = self._unit(fields, mapping, is_unlimited=is_unlimited)
        return LimitRule(
            id=path,
            place=self._place(mapping.start),
            requests_per_unit=self._requests(fields, mapping, is_unlimited=is_unlimited),
            unit=unit,
            is_unlimited=is_unlimited,
            name=name,
            replaces=self._replaces(fields, name),
            metadata=metadata,
            **flags,
        )

    def _unit(self, fields: Fields, mapping: Mapping, *, is_unlimited: bool) -> Unit | None:
        text = self._fields.text(fields, "unit")
        start = fields["unit"].start if "unit" in fields else mapping.start
        unit = text.lower() if text.isascii() else ""
        is_known = unit in UNIT_SECONDS
        if is_unlimited:
            if is_known:
                self._fields.refuse(start, "P125", "should not specify rate limit unit when unlimited")
            elif text:
                self._fields.complain(start, "P125", f"an unlimited rule has no unit, and {quote(text)} is none")
            return None
        if not is_known:
            hint = self._fields.problems.hint(text, tuple(UNIT_SECONDS))
            self._fields.refuse(start, "P125", f"invalid rate limit unit {quote(text)}{hint}")
            return None
        return cast("Unit", unit)

    def _requests(self, fields: Fields, mapping: Mapping, *, is_unlimited: bool) -> int:
        count = self._fields.count(fields, "requests_per_unit")
        node = fields.get("requests_per_unit")
        if is_unlimited:
            if count and node is not None:
                self._fields.complain(node.start, "P126", "an unlimited rule has no requests_per_unit")
            return 0
        if count is None and (node is None or is_null(node)):
            start = mapping.start if node is None else node.start
            message = "requests_per_unit is missing: envoyproxy/ratelimit takes it as 0, which refuses every request"
            self._fields.complain(start, "P126", message)
        return count or 0

    def _replaces(self, fields: Fields, name: str) -> frozenset[str]:
        names = []
        for mapping in self._fields.mappings(fields, "replaces"):
            other = self._fields.text(self._fields.of(mapping, REPLACES_FIELDS), "name")
            if not other:
                self._fields.refuse(mapping.start, "P127", "should not have an empty replaces entry")
            elif other == name:
                message = "replaces should not contain name of same descriptor"
                self._fields.refuse(mapping.start, "P127", message)
            else:
                names.append(other)
        return frozenset(names)

    def _place(self, offset: int) -> Place:
        line, column = self._fields.source.place(offset)
        return Place(self._fields.source.name, line, column)
