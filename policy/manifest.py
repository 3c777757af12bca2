"""Checks the manifest against the directory: exactly the listed files make up the set."""

from __future__ import annotations

import re
from typing import Final

from policy.diagnostics import did_you_mean, quote
from policy.directory import RawFiles
from policy.names import FILE_MODELS, MANIFEST_FILE, OPTIONAL_FILES, is_descriptor_file, is_planned, model_of
from policy.parts import Parts
from policy.schema.manifest import Manifest

_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*\Z")


def check_manifest(manifest: Manifest, raw: RawFiles, parts: Parts) -> list[str]:
    """Return the listed files that exist and are of a known kind, after adding every problem."""
    seen: dict[str, int] = {}
    readable: list[str] = []
    unread = {problem.file for problem in raw.problems}
    for index, name in enumerate(manifest.files):
        if name in seen:
            parts.add(MANIFEST_FILE, ("files", index), "P023", f"{quote(name)} is listed twice")
            continue
        seen[name] = index
        complaint = _listed_complaint(name, raw, unread)
        if complaint is None:
            readable.append(name)
        elif complaint:
            parts.add(MANIFEST_FILE, ("files", index), *complaint)
    _check_present(seen, raw, parts)
    for name in FILE_MODELS:
        if name not in seen and name not in OPTIONAL_FILES:
            parts.add(MANIFEST_FILE, ("files",), "P025", f"{quote(name)} must be in the list; every set needs it")
    return [name for name in readable if name in raw.contents]


def _listed_complaint(name: str, raw: RawFiles, unread: set[str]) -> tuple[str, str] | None:
    if not _NAME.match(name) or name == MANIFEST_FILE:
        return "P023", f"{quote(name)} is not a file name below this directory"
    if model_of(name) is None and not is_descriptor_file(name):
        if is_planned(name):
            return "P024", f"{quote(name)} is of a kind that this version does not support"
        return "P024", f"{quote(name)} is no policy file{did_you_mean(name, FILE_MODELS)}"
    if name not in raw.contents and name not in unread:
        return "P021", f"{quote(name)} is listed but not there"
    return None


def _check_present(listed: dict[str, int], raw: RawFiles, parts: Parts) -> None:
    for name in raw.contents:
        if name != MANIFEST_FILE and name not in listed:
            hint = parts.problems.hint(name, listed)
            parts.add_without_place(name, "P022", f"the file is not listed in {MANIFEST_FILE}; list or remove it{hint}")
