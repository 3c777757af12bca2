"""Steps `match` and `key` for descriptors: a dictionary walk to the limit, and the name of its counter.

Sources: envoyproxy/ratelimit `GetLimit`, `GenerateCacheKey`; envoy.type.v3.RateLimitUnit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from policy.card_keys import CardSecret
from policy.descriptors.tree import DescriptorSet, Domain, LimitRule, Place, Unit
from ratelimit.descriptors.model import Descriptor, DescriptorQuery, Found, Path

NOTHING: Final = Found()

_UNITS: Final[Mapping[int, Unit]] = {
    1: "second",
    2: "minute",
    3: "hour",
    4: "day",
    5: "month",
    6: "year",
    # Envoy's own type has no week, but the response's has, and this number has always worked.
    7: "week",
}
_IN_REQUEST: Final = Place("(request)", 0, 0)
_LONGEST_KEY: Final = 512
_LONGEST_DOMAIN: Final = 64
_LONGEST_PATH: Final = 100
"""Of a typed key; what is longer is named by its digest. At four bytes a character the key stays within bounds."""


def match(descriptors: DescriptorSet, query: DescriptorQuery) -> tuple[Found, ...] | None:
    """Find the limit of each descriptor; those that another one replaces are gone.

    Returns:
        None when the domain has no rules at all.
    """
    domain = descriptors.domains.get(query.domain)
    if domain is None:
        return None
    found = [_find(domain, descriptor) for descriptor in query.descriptors]
    replaced: set[str] = set()
    for each in found:
        if each.limit is not None and each.limit.replaces:
            replaced |= each.limit.replaces
    if not replaced:
        return tuple(found)
    return tuple(each if each.limit is None or each.limit.name not in replaced else NOTHING for each in found)


def _find(domain: Domain, descriptor: Descriptor) -> Found:
    if descriptor.override is not None:
        return _overridden(domain, descriptor)
    level, last = domain.root, len(descriptor.entries) - 1
    path: list[tuple[str, str]] = []
    for place, (key, value) in enumerate(descriptor.entries):
        node = level.find(key, value)
        if node is None:
            return NOTHING
        path.append((key, value if node.shared_value is None else node.shared_value))
        if place == last:
            return Found(node.limit, tuple(path))
        if node.children is None:
            return NOTHING
        level = node.children
    return NOTHING


def _overridden(domain: Domain, descriptor: Descriptor) -> Found:
    """Return the limit of the request itself; it needs no rule, and shares the counter of one with the same unit."""
    override = descriptor.override
    unit = None if override is None else _UNITS.get(override.unit)
    if override is None or unit is None:
        # envoyproxy/ratelimit ends itself here; to take the rule's limit instead would hide a broken Envoy filter.
        return Found(fault="an override of unknown unit")
    limit = LimitRule(f"{domain.name}.override", _IN_REQUEST, override.requests_per_unit, unit)
    return Found(limit, descriptor.entries)


def plain_key(domain: str, path: Path, start: int) -> str:
    """Name a counter as envoyproxy/ratelimit does; (a, b_c) and (a_b, c) share one."""
    return f"{domain}_{''.join(f'{key}_{value}_' for key, value in path)}{start}"


def typed_key(domain: str, path: Path, unit: Unit, start: int, secret: CardSecret | None = None) -> str:
    """Name a counter so that no two paths and no two windows share it: each text comes with its length.

    The domain is the hash tag: in a cluster all counters of a request lie in one slot and are taken in one call. With a
    secret the path is hashed under it, for a path may hold addresses and users.
    """
    parts = ":".join([f"{len(key)}:{key}:{len(value)}:{value}" for key, value in path])
    if secret is not None:
        parts = secret.name_key(parts)
    elif len(parts) > _LONGEST_PATH:
        parts = hashlib.sha256(parts.encode()).hexdigest()
    name = f"{len(domain)}:{domain}" if len(domain) <= _LONGEST_DOMAIN else hashlib.sha256(domain.encode()).hexdigest()
    return f"tollhouse:1:d:{{{name}}}:{unit}:{start}:{parts}"


def bounded_key(key: str, secret: CardSecret | None = None) -> str:
    """Return the key, or its digest where a caller sent very long values: a store keeps every key in memory.

    With a secret it is always a digest, under that secret.
    """
    if secret is not None:
        return f"tollhouse:1:d:{secret.name_key(key)}"
    if len(key) <= _LONGEST_KEY and key.isascii():
        return key
    text = key.encode()
    return key if len(text) <= _LONGEST_KEY else f"tollhouse:1:d:{hashlib.sha256(text).hexdigest()}"
