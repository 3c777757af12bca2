"""Reads the free-form `metadata` of a descriptor into frozen values."""

from __future__ import annotations

from collections.abc import Mapping as FrozenMapping
from types import MappingProxyType
from typing import Final

from policy.descriptors.fields import FileFields, TooMuch
from policy.descriptors.nodes import MAX_DEPTH, Mapping, Node, Scalar, Sequence
from policy.descriptors.spelling import is_null, stands_for
from policy.descriptors.tree import Json
from policy.diagnostics import quote

_LARGEST: Final = 1.7976931348623157e308  # the largest double
_NOTHING: Final[FrozenMapping[str, Json]] = MappingProxyType({})


def read_metadata(fields: FileFields, node: Node | None) -> FrozenMapping[str, Json]:
    """Return a descriptor's metadata; empty when there is none, or when it was refused.

    Numbers are what YAML 1.1 makes of them: Envoy's metadata holds doubles.

    Raises:
        TooMuch: It is nested or unfolds beyond every bound.
    """
    if node is None or is_null(node):
        return _NOTHING
    if not isinstance(node, Mapping):
        fields.refuse(node.start, "P032", "error loading config file: metadata takes keys with values")
        return _NOTHING
    return _frozen_mapping(fields, node, 0)


def _frozen(fields: FileFields, node: Node, depth: int) -> Json:
    if isinstance(node, Mapping):
        return _frozen_mapping(fields, node, depth + 1)
    if isinstance(node, Sequence):
        fields.spend(node.start, len(node.items))
        return tuple(_frozen(fields, item, depth + 1) for item in node.items)
    value = stands_for(node)
    if isinstance(value, float) and not -_LARGEST <= value <= _LARGEST:
        fields.refuse(node.start, "P129", f"{node.text} has no place in JSON; put it in quotes")
        return None
    return value


def _frozen_mapping(fields: FileFields, mapping: Mapping, depth: int) -> FrozenMapping[str, Json]:
    if depth > MAX_DEPTH:
        fields.refuse(mapping.start, "P010", f"metadata nested more than {MAX_DEPTH} levels deep")
        raise TooMuch
    found: dict[str, Json] = {}
    written: set[str] = set()
    for key, node, is_merged in fields.pairs(mapping):
        if not isinstance(key, Scalar):
            fields.refuse(key.start, "P012", "config error, key is not of type string: a list or mapping")
            continue
        if key.text in written:
            fields.complain(key.start, "P006", f"key {quote(key.text)} stands twice; the last one counts")
        if not is_merged:
            written.add(key.text)
        found[key.text] = _frozen(fields, node, depth)
    return MappingProxyType(found)
