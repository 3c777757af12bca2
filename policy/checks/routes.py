"""routes.yaml: every request leads to one operation, and money never moves without its attributes."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations
from typing import Final

from policy.attributes import MONEY_ATTRIBUTES
from policy.checks.common import check_known, check_pointer, check_unique
from policy.diagnostics import quote
from policy.names import ROUTES_FILE
from policy.parts import Parts
from policy.schema.routes import Operation, RoutesFile

_MAX_SEGMENTS: Final = 32
_TEMPLATE: Final = re.compile(r"\{[a-z][a-z0-9_]{0,63}\}\Z")
_LITERAL: Final = re.compile(r"[A-Za-z0-9_.~-]+\Z")
_DOUBTFUL: Final = frozenset({408, 409, 425, 429})
"""Statuses below 500 that say nothing sure of the payment: it may have been taken before, or later."""
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9-]+(\.[a-z0-9-]+)*)\Z")


def check_routes(parts: Parts) -> None:
    """Add every problem of routes.yaml."""
    file = parts.find_sound(RoutesFile)
    if file is None:
        return
    check_unique(parts, ROUTES_FILE, ("operations",), ("operation", [item.operation for item in file.operations]))
    _check_hosts(parts, ("hosts",), file.hosts)
    for index, operation in enumerate(file.operations):
        path = ("operations", index)
        _check_hosts(parts, (*path, "hosts"), operation.hosts)
        check_unique(parts, ROUTES_FILE, (*path, "scopes"), ("", operation.scopes))
        check_pointer(parts, ROUTES_FILE, (*path, "merchant", "claim"), operation.merchant.claim)
        _check_path(parts, index, operation)
        _check_body(parts, index, operation)
        _check_idempotency(parts, index, operation)
        _check_outcome(parts, index, operation)
    _check_overlaps(parts, file)


def _check_hosts(parts: Parts, path: tuple[str | int, ...], hosts: tuple[str, ...]) -> None:
    check_unique(parts, ROUTES_FILE, path, ("", hosts))
    for index, host in enumerate(hosts):
        if not _HOST.match(host):
            message = f"{quote(host)} is not a host name without port; any port matches"
            parts.add(ROUTES_FILE, (*path, index), "P053", message)


def _check_path(parts: Parts, index: int, operation: Operation) -> None:
    where = ("operations", index, "path")
    segments = operation.path[1:].split("/")
    if len(segments) > _MAX_SEGMENTS:
        parts.add(ROUTES_FILE, where, "P053", f"more than {_MAX_SEGMENTS} segments")
    # An empty last segment is a trailing slash: another path, but a plain one.
    words = segments[:-1] if segments[-1] == "" else segments
    if not all(_is_segment(segment) for segment in words):
        message = "a segment is a plain word or one name in braces: /v1/payments/{payment_id}"
        parts.add(ROUTES_FILE, where, "P053", message)
    names = [segment for segment in segments if segment.startswith("{")]
    for name in sorted({name for name in names if names.count(name) > 1}):
        parts.add(ROUTES_FILE, where, "P040", f"{quote(name)} stands twice in the path")


def _is_segment(segment: str) -> bool:
    if segment in (".", ".."):
        return False
    return bool(_TEMPLATE.match(segment) or _LITERAL.match(segment))


def _check_body(parts: Parts, index: int, operation: Operation) -> None:
    path = ("operations", index)
    has_body = operation.method not in ("GET", "HEAD")
    if operation.moves_money and not has_body:
        message = f"{operation.method} is safe (RFC 9110 section 9.2.1) and must not move money"
        parts.add(ROUTES_FILE, (*path, "method"), "P054", message)
    elif operation.profile is not None and not has_body:
        parts.add(ROUTES_FILE, (*path, "profile"), "P054", f"{operation.method} has no body to read")
    if operation.profile is None:
        if operation.moves_money:
            message = "an operation that moves money needs a body profile"
            parts.add(ROUTES_FILE, (*path, "moves_money"), "P055", message)
        return
    profiles = {profile.profile: profile for profile in parts.profiles().values()}
    profile = profiles.get(operation.profile)
    if profile is None:
        if parts.has_all_profiles:
            check_known(parts, ROUTES_FILE, (*path, "profile"), ("profile", operation.profile, profiles))
        return
    missing = [name for name in MONEY_ATTRIBUTES if name not in profile.attributes]
    if operation.moves_money and missing:
        message = f"profile {quote(operation.profile)} does not say where {', '.join(missing)} stands"
        parts.add(ROUTES_FILE, (*path, "profile"), "P055", message)


def _check_idempotency(parts: Parts, index: int, operation: Operation) -> None:
    section = operation.idempotency
    if section is not None and section.mode == "upstream_enforced" and not operation.moves_money:
        message = "upstream_enforced is about payments; without moves_money say required or optional"
        parts.add(ROUTES_FILE, ("operations", index, "idempotency", "mode"), "P054", message)


def _check_outcome(parts: Parts, index: int, operation: Operation) -> None:
    if operation.outcome is None:
        return
    path = ("operations", index, "outcome", "declined")
    check_unique(parts, ROUTES_FILE, path, ("", [str(status) for status in operation.outcome.declined]))
    for place, status in enumerate(operation.outcome.declined):
        if status in _DOUBTFUL or status >= 500:
            message = f"{status} is what proxies and time-outs answer too, also for a payment that was taken"
            parts.add(ROUTES_FILE, (*path, place), "P084", message, "warning")


def _check_overlaps(parts: Parts, file: RoutesFile) -> None:
    by_request: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for index, operation in enumerate(file.operations):
        for host in dict.fromkeys(operation.hosts or file.hosts):
            by_request[host, operation.method, operation.path.count("/")].append(index)
    reported: set[int] = set()
    for indexes in dict.fromkeys(tuple(found) for found in by_request.values()):
        for first, second in combinations(indexes, 2):
            if second in reported:
                continue
            one, other = file.operations[first], file.operations[second]
            if _is_ambiguous(one.path.split("/"), other.path.split("/")):
                reported.add(second)
                message = f"{quote(other.path)} matches requests that {quote(one.operation)} matches too"
                parts.add(ROUTES_FILE, ("operations", second, "path"), "P056", message)


def _is_ambiguous(one: list[str], other: list[str]) -> bool:
    """Say whether one request matches both and neither is the more literal one at every place."""
    is_one_wins = is_other_wins = False
    for left, right in zip(one, other, strict=True):
        is_left_open, is_right_open = left.startswith("{"), right.startswith("{")
        if (left == "") != (right == ""):  # the value of a template is never empty
            return False
        if not is_left_open and not is_right_open and left != right:
            return False
        is_one_wins = is_one_wins or (is_right_open and not is_left_open)
        is_other_wins = is_other_wins or (is_left_open and not is_right_open)
    return is_one_wins == is_other_wins
