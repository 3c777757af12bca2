"""What lets more through in one set of descriptors than in the one before it; logged at every reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policy.descriptors.tree import DescriptorSet, Level, LimitRule, level_nodes
from policy.diagnostics import quote


def loosened(old: DescriptorSet, new: DescriptorSet) -> list[str]:
    """Return a sentence for each rule that is gone, weaker, in shadow, or replaced where it was not."""
    before, after = _rules(old), _rules(new)
    sentences = []
    for name, rule in before.items():
        reason = _reason(rule, after.get(name))
        if reason:
            sentences.append(f"{quote(name)} {reason}")
    return sentences


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
