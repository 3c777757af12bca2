"""Step 2: which operation is this? Host, method and canonical path lead to one operation or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from extauthz.model import AuthzRequest, Deny
from extauthz.paths import canonical_host, canonical_path
from extauthz.reasons import Reason

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    template: _Node[T] | None = None
    operation: T | None = None


class RouteTable(Generic[T]):
    """Operations by host, method and path segments; built at load, read on every request."""

    def __init__(self, entries: Iterable[tuple[str, str, str, T]]) -> None:
        """Build the table.

        Args:
            entries: Host without port, method, path template such as `/v1/payments/{id}`, operation.
        """
        self._roots: dict[tuple[str, str], _Node[T]] = {}
        for host, method, template, operation in entries:
            node = self._roots.setdefault((host, method), _Node())
            for segment in template[1:].split("/"):
                node = _child(node, segment)
            node.operation = operation

    def find(self, host: str, method: str, path: str) -> T | None:
        """Return the operation; a literal segment wins over a template at the same place."""
        root = self._roots.get((host, method))
        return None if root is None else _walk(root, path[1:].split("/"), 0)


def _child(node: _Node[T], segment: str) -> _Node[T]:
    if segment.startswith("{"):
        if node.template is None:
            node.template = _Node()
        return node.template
    return node.literals.setdefault(segment, _Node())


def _walk(node: _Node[T], segments: list[str], depth: int) -> T | None:
    if depth == len(segments):
        return node.operation
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _walk(literal, segments, depth + 1)
        if found is not None:
            return found
    # An empty segment is a doubled or trailing slash and never the value of a template.
    if node.template is not None and segment:
        return _walk(node.template, segments, depth + 1)
    return None


def select(table: RouteTable[T], request: AuthzRequest) -> T | Deny:
    """Return the operation of a request, or why there is none."""
    host = canonical_host(request.host)
    path = canonical_path(request.path)
    if host is None or path is None:
        return Deny(Reason.REQUEST_MALFORMED, detail="host or path can be read in more than one way")
    operation = table.find(host, request.method, path)
    return Deny(Reason.ROUTE_UNKNOWN) if operation is None else operation
