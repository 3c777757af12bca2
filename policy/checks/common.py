"""Checks that several files need."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from policy.diagnostics import quote
from policy.parts import Parts
from policy.positions import Path
from policy.schema.routes import StepUp

_BAD_ESCAPE: Final = re.compile(r"~(?![01])")


def check_pointer(parts: Parts, file: str, path: Path, pointer: str) -> None:
    """Add a problem for a JSON Pointer with a wrong escape (RFC 6901 section 3)."""
    if _BAD_ESCAPE.search(pointer):
        message = "in a JSON Pointer '~' is written '~0' and '/' inside a name '~1' (RFC 6901)"
        parts.add(file, path, "P033", message)


def check_unique(parts: Parts, file: str, path: Path, keyed: tuple[str, Sequence[str]]) -> None:
    """Add a problem for every id that stands twice.

    Args:
        parts: The set.
        file: File name.
        path: Where the list stands.
        keyed: The key that holds the id, or an empty one for a list of plain words, and the ids in order.
    """
    key, ids = keyed
    seen: set[str] = set()
    for index, identifier in enumerate(ids):
        if identifier in seen:
            where = (*path, index, key) if key else (*path, index)
            parts.add(file, where, "P040", f"{quote(identifier)} stands twice")
        seen.add(identifier)


def check_step_up(parts: Parts, file: str, path: Path, step_up: StepUp) -> None:
    """Add a problem for a step-up that asks for nothing, or for one thing twice."""
    check_unique(parts, file, (*path, "acr_values"), ("", step_up.acr_values))
    if not step_up.acr_values and step_up.max_age_seconds is None:
        parts.add_at_key(file, path, "P059", "step_up needs acr_values or max_age_seconds")


def check_known(parts: Parts, file: str, path: Path, name: tuple[str, str, Collection[str]]) -> bool:
    """Say whether a reference leads somewhere, after adding a problem when not.

    Args:
        parts: The set.
        file: File name.
        path: Where the reference stands; a mapping key when it ends with the name itself.
        name: What it refers to (`operation`), the name, and all known ones.
    """
    kind, identifier, known = name
    if identifier in known:
        return True
    message = f"unknown {kind} {quote(identifier)}{parts.problems.hint(identifier, known)}"
    if path and path[-1] == identifier:
        parts.add_at_key(file, path, "P041", message)
    else:
        parts.add(file, path, "P041", message)
    return False
