"""Reads the fields of one descriptor file's mappings: which keys may stand where, and what their values mean.

What envoyproxy/ratelimit refuses is refused with the words that it uses, so that a search for them finds both. What
it takes silently although two people read it in two ways is an error here, and under compat a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from policy.descriptors.nodes import Mapping, Node, Scalar, Sequence
from policy.descriptors.spelling import PLAIN_INTEGER, is_null, stands_for
from policy.descriptors.tree import MAX_REQUESTS_PER_UNIT
from policy.diagnostics import Problem, ProblemList, Severity, quote
from policy.reader import Source

ROOT_FIELDS: Final = frozenset({"domain", "descriptors", "name"})
DESCRIPTOR_FIELDS: Final = frozenset(
    {
        "key",
        "value",
        "rate_limit",
        "descriptors",
        "shadow_mode",
        "quota_mode",
        "detailed_metric",
        "value_to_metric",
        "share_threshold",
        "metadata",
    }
)
LIMIT_FIELDS: Final = frozenset({"unit", "requests_per_unit", "unlimited", "name", "replaces"})
REPLACES_FIELDS: Final = frozenset({"name"})

ALL_FIELDS: Final = ROOT_FIELDS | DESCRIPTOR_FIELDS | LIMIT_FIELDS

MAX_PAIRS: Final = 500_000
"""Keys with values in all files of a set, each alias counted as if it were written out."""

_MAX_MERGES: Final = 20
_MERGED_WHEN_TWICE: Final = frozenset({"rate_limit", "metadata"})
_MAY_BE_NULL: Final = frozenset({"rate_limit", "descriptors", "unit", "requests_per_unit", "key", "domain"})

Fields = dict[str, Node]


class TooMuch(Exception):  # noqa: N818 - ends the reading of one file
    """A bound is reached; the problem has been added."""


@dataclass(slots=True)
class Budget:
    """How much of a set may still be read."""

    pairs: int = MAX_PAIRS


@dataclass(frozen=True, slots=True)
class FileFields:
    """The fields of one file.

    Attributes:
        source: The file.
        problems: Takes what is wrong.
        is_compat: Read as envoyproxy/ratelimit does.
        budget: Shared by all files of a set.
    """

    source: Source
    problems: ProblemList
    is_compat: bool
    budget: Budget

    def refuse(self, offset: int, code: str, message: str) -> None:
        """Add an error: envoyproxy/ratelimit refuses it too."""
        self._add(offset, code, message, "error")

    def complain(self, offset: int, code: str, message: str) -> None:
        """Add an error, which under compat is a warning: envoyproxy/ratelimit accepts it."""
        self._add(offset, code, message, "warning" if self.is_compat else "error")

    def warn(self, offset: int, code: str, message: str) -> None:
        """Add a warning: probably a mistake, and yet clear."""
        self._add(offset, code, message, "warning")

    def _add(self, offset: int, code: str, message: str, severity: Severity) -> None:
        line, column = self.source.place(offset)
        self.problems.add(Problem(self.source.name, line, column, code, message, severity=severity))

    def of(self, mapping: Mapping, known: frozenset[str]) -> Fields:
        """Return the fields of a mapping by name; the last one of two, as envoyproxy/ratelimit takes it.

        Raises:
            TooMuch: The set is larger than any that a person wrote.
        """
        found: Fields = {}
        merged: dict[str, bool] = {}
        for key, node, is_merged in self.pairs(mapping):
            name = self._name(key, known)
            if name is None:
                continue
            if name in found and not merged[name]:
                self.complain(key.start, "P006", f"key {quote(name)} stands twice; the last one counts")
                node = _joined(name, found[name], node)
            found[name], merged[name] = node, is_merged
            self._check_kind(name, node)
        return found

    def pairs(self, mapping: Mapping, merges: int = 0) -> Iterator[tuple[Node, Node, bool]]:
        """Yield key, value and whether `<<` brought them; merged mappings stand where `<<` stands.

        Raises:
            TooMuch: The set unfolds to more than a person wrote.
        """
        self.spend(mapping.start, MAX_PAIRS + 1 if merges > _MAX_MERGES else len(mapping.pairs) + 1)
        for key, node in mapping.pairs:
            if not (isinstance(key, Scalar) and key.is_plain and key.text == "<<"):
                yield key, node, merges > 0
                continue
            for inner in self._merged(node):
                for inner_key, inner_node, _ in self.pairs(inner, merges + 1):
                    yield inner_key, inner_node, True

    def spend(self, offset: int, pairs: int) -> None:
        """Take from the budget; raises `TooMuch` when it does not reach."""
        self.budget.pairs -= pairs
        if self.budget.pairs < 0:
            self.refuse(offset, "P136", "with aliases written out the files hold more than can be meant")
            raise TooMuch

    def _merged(self, node: Node) -> list[Mapping]:
        """Return what `<<` stands for, weakest first."""
        nodes = list(reversed(node.items)) if isinstance(node, Sequence) else [node]
        mappings = [item for item in nodes if isinstance(item, Mapping)]
        if len(mappings) != len(nodes):
            self.refuse(node.start, "P032", "error loading config file: `<<` takes a mapping or a list of mappings")
        return mappings

    def _name(self, key: Node, known: frozenset[str]) -> str | None:
        if not isinstance(key, Scalar) or not isinstance(stands_for(key), str):
            shown = quote(key.text)[1:-1] if isinstance(key, Scalar) else "a list or mapping"
            self.refuse(key.start, "P012", f"config error, key is not of type string: {shown}")
            return None
        if key.text not in ALL_FIELDS:
            hint = self.problems.hint(key.text, sorted(known))
            self.refuse(key.start, "P030", f"config error, unknown key {quote(key.text)}{hint}")
            return None
        if key.text not in known:
            message = f"key {quote(key.text)} means nothing here; allowed are {', '.join(sorted(known))}"
            self.complain(key.start, "P130", message)
            return None
        return key.text

    def _check_kind(self, name: str, node: Node) -> None:
        if name == "metadata" or not isinstance(node, Scalar):
            return
        if isinstance(stands_for(node), float):
            self.refuse(node.start, "P135", f"error checking config: {node.text} is no text; put it in quotes")
        elif is_null(node) and name not in _MAY_BE_NULL:
            self.complain(node.start, "P133", f"nothing stands behind {quote(name)}; write a value or remove the key")

    def text(self, fields: Fields, name: str) -> str:
        """Return a text as it is spelled in the file; empty when it is absent or null."""
        node = fields.get(name)
        if node is None or is_null(node):
            return ""
        if not isinstance(node, Scalar):
            self.refuse(node.start, "P032", f"error loading config file: {name} takes text")
            return ""
        return node.text

    def flag(self, fields: Fields, name: str) -> bool:
        """Return a truth value; false when it is absent or null."""
        node = fields.get(name)
        if node is None or is_null(node):
            return False
        value = stands_for(node) if isinstance(node, Scalar) else None
        if not isinstance(value, bool):
            self.refuse(node.start, "P032", f"error loading config file: {name} takes true or false without quotes")
            return False
        if isinstance(node, Scalar) and node.text not in ("true", "false"):
            read = str(value).lower()
            self.complain(node.start, "P129", f"{quote(node.text)} is read as {read}; write {read}")
        return value

    def count(self, fields: Fields, name: str) -> int | None:
        """Return a number from 0 to 4294967295, or None when it is absent, null or refused."""
        node = fields.get(name)
        if node is None or is_null(node):
            return None
        value = stands_for(node) if isinstance(node, Scalar) else None
        if isinstance(value, float):
            return None  # told already
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_REQUESTS_PER_UNIT:
            wanted = f"a whole number from 0 to {MAX_REQUESTS_PER_UNIT} without quotes"
            self.refuse(node.start, "P126", f"error loading config file: {name} takes {wanted}")
            return None
        if isinstance(node, Scalar) and not PLAIN_INTEGER.fullmatch(node.text):
            self.complain(node.start, "P129", f"{quote(node.text)} is read as {value}; write {value}")
        return value

    def mapping(self, fields: Fields, name: str) -> Mapping | None:
        """Return a mapping, or None when it is absent, null or something else, which is refused."""
        node = fields.get(name)
        if node is None or is_null(node) or isinstance(node, Mapping):
            return node if isinstance(node, Mapping) else None
        self.refuse(node.start, "P032", f"error loading config file: {name} takes keys with values")
        return None

    def mappings(self, fields: Fields, name: str) -> list[Mapping]:
        """Return a list's mappings; whatever else stands in it is refused."""
        node = fields.get(name)
        if node is None or is_null(node):
            return []
        if not isinstance(node, Sequence):
            self.refuse(node.start, "P032", f"error loading config file: {name} takes a list")
            return []
        for item in node.items:
            if not isinstance(item, Mapping):
                shown = quote(item.text)[1:-1] if isinstance(item, Scalar) else "a list"
                message = f"config error, yaml file contains list of type other than map: {shown}"
                self.refuse(item.start, "P032", message)
        return [item for item in node.items if isinstance(item, Mapping)]


def _joined(name: str, first: Node, second: Node) -> Node:
    """Return what counts of a key that stands twice: mappings are taken together (yaml.v2), else the last one."""
    if name in _MERGED_WHEN_TWICE and isinstance(first, Mapping) and isinstance(second, Mapping):
        return Mapping(second.start, [*first.pairs, *second.pairs])
    return second
