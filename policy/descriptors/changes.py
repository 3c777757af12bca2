"""What lets more through in one set of descriptors than in the one before it; logged at every reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from policy.descriptors.tree import DescriptorSet, Level, LimitRule, level_nodes
from policy.diagnostics import quote

_MAX_LOOKED_UP: Final = 1000  # descriptors; both sets are looked up for each of them while the service goes on

Entries = tuple[tuple[str, str], ...]


def loosened(old: DescriptorSet, new: DescriptorSet) -> list[str]:
    """Return a sentence for each descriptor of either set whose requests were limited more tightly before.

    A new exemption beside a limit is found too, up to a thousand descriptors; beyond, only rules that are in the old
    set are compared.
    """
    before, after = _rules(old), _rules(new)
    paths = {**_paths(new), **_paths(old)}
    if len(paths) > _MAX_LOOKED_UP:
        pairs: dict[str, tuple[LimitRule | None, LimitRule | None]]
        pairs = {name: (rule, after.get(name)) for name, rule in before.items()}
    else:
        pairs = {name: (_held_to(old, *path), _held_to(new, *path)) for name, path in paths.items()}
    sentences = []
    for name, (was, is_now) in pairs.items():
        reason = "" if was is None else _reason(was, is_now)
        if reason:
            sentences.append(f"{quote(name)} {reason}")
    return sentences


def _paths(descriptors: DescriptorSet) -> dict[str, tuple[str, Entries]]:
    """Return domain and entries of every descriptor; a wildcard stands for itself, a key for the empty value."""
    found: dict[str, tuple[str, Entries]] = {}
    for name, domain in descriptors.domains.items():
        waiting: list[tuple[str, Entries, Level]] = [(name, (), domain.root)]
        while waiting:
            prefix, entries, level = waiting.pop()
            for node in level_nodes(level):
                path = f"{prefix}.{node.key}_{node.value}" if node.value else f"{prefix}.{node.key}"
                here = (*entries, (node.key, node.value))
                found[path] = (name, here)
                if node.children is not None:
                    waiting.append((path, here, node.children))
    return found


def _held_to(descriptors: DescriptorSet, domain: str, entries: Entries) -> LimitRule | None:
    """Return the limit that a request with these entries is held to."""
    found = descriptors.domains.get(domain)
    level = None if found is None else found.root
    limit = None
    for key, value in entries:
        node = None if level is None else level.find(key, value)
        if node is None:
            return None
        limit, level = node.limit, node.children
    return limit


def count_limits(descriptors: DescriptorSet) -> int:
    """Return how many descriptors of a set have a limit."""
    return len(_rules(descriptors))


def _rules(descriptors: DescriptorSet) -> Mapping[str, LimitRule]:
    return {rule.id: rule for domain in descriptors.domains.values() for rule in _below(domain.root)}


def _below(root: Level) -> Iterator[LimitRule]:
    waiting = [root]
    while waiting:
        for node in level_nodes(waiting.pop()):
            if node.limit is not None:
                yield node.limit
            if node.children is not None:
                waiting.append(node.children)


def _reason(old: LimitRule, new: LimitRule | None) -> str:
    if old.is_unlimited:
        return ""
    if new is None:
        return "has no limit any more"
    if new.is_unlimited:
        return "is unlimited now"
    if new.is_shadow and not old.is_shadow:
        return "refuses nothing any more, it is in shadow mode"
    if new.is_quota and not old.is_quota:
        return "refuses only together with other quotas"
    if new.requests_per_unit * old.window_seconds > old.requests_per_unit * new.window_seconds:
        return f"goes from {old.requests_per_unit} a {old.unit} to {new.requests_per_unit} a {new.unit}"
    return ""
