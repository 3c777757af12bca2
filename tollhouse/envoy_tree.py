"""An Envoy configuration as a tree: its chains of HTTP filters, and whatever else is looked for in it.

Used by the checks of `tollhouse envoy check`. Nothing in the file need be what it should; what is not is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

EXT_AUTHZ: Final = "filters.http.ext_authz.v3.ExtAuthz"
_MANAGER: Final = "http_connection_manager.v3.HttpConnectionManager"


@dataclass(frozen=True, slots=True)
class Chain:
    """The HTTP filters of one connection manager, in their order, each with its kind.

    Attributes:
        place: Which manager, for a person.
        filters: Kind, entry and configuration of each.
        manager: All of it.
    """

    place: str
    filters: list[tuple[str, dict[str, Any], dict[str, Any]]]
    manager: dict[str, Any]

    def of(self, kind: str) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Return the filters of a kind: place, entry and configuration."""
        return [(at, entry, config) for at, (name, entry, config) in enumerate(self.filters) if name.endswith(kind)]


def gates(document: dict[str, Any]) -> list[Chain]:
    """Return every chain of HTTP filters that has ext_authz."""
    return [chain for chain in _chains(document) if chain.of(EXT_AUTHZ)]


def _chains(document: dict[str, Any]) -> Iterator[Chain]:
    managers = find(document, lambda value: kind_of(value).endswith(_MANAGER))
    for number, manager in enumerate(managers):
        entries = [entry for entry in as_list(manager.get("http_filters")) if isinstance(entry, dict)]
        filters = [(kind_of(config := as_mapping(entry.get("typed_config"))), entry, config) for entry in entries]
        name = manager.get("stat_prefix")
        yield Chain(f"http_connection_manager {name if isinstance(name, str) else number}", filters, manager)


def find(value: Any, is_wanted: Callable[[dict[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    """Return every mapping, at any depth, that is wanted."""
    if isinstance(value, dict):
        if is_wanted(value):
            yield value
        for item in value.values():
            yield from find(item, is_wanted)
    elif isinstance(value, list):
        for item in value:
            yield from find(item, is_wanted)


def kind_of(value: dict[str, Any]) -> str:
    """Return the `@type` of a mapping, empty without one."""
    kind = value.get("@type")
    return kind if isinstance(kind, str) else ""


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, and nothing for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and nothing for anything else."""
    return value if isinstance(value, list) else []
