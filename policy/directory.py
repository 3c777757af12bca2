"""Reads the bytes of a policy directory once; what follows works on these bytes alone.

Entries whose name starts with "." are not policy files: Kubernetes mounts a ConfigMap as links through `..data`.
A link may stay inside the directory; one that leaves it is a problem.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from policy.diagnostics import Problem
from policy.reader import MAX_FILE_BYTES

MAX_FILES: Final = 256
_MAX_ENTRIES: Final = 4096
_REVISION_HEX: Final = 16


@dataclass(frozen=True, slots=True)
class RawFiles:
    """What a policy directory holds.

    Attributes:
        contents: Bytes by name relative to the directory; at most one byte more than a file may have.
        problems: Entries that could not be read.
    """

    contents: Mapping[str, bytes]
    problems: tuple[Problem, ...]

    @property
    def revision(self) -> str:
        """Return 16 hex digits of the SHA-256 over all names and contents."""
        digest = hashlib.sha256()
        for name in sorted(self.contents):
            for part in (name.encode("utf-8", "surrogateescape"), self.contents[name]):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        for problem in sorted(self.problems, key=lambda item: item.sort_key):
            digest.update(str(problem).encode("utf-8", "replace"))
        return digest.hexdigest()[:_REVISION_HEX]


def read_directory(root: Path) -> RawFiles:
    """Return all files in `root` and its folders; never raises for what it finds there."""
    contents: dict[str, bytes] = {}
    problems: list[Problem] = []
    try:
        real_root = root.resolve(strict=True)
        entries = _entries(real_root)
    except (OSError, RuntimeError):
        return RawFiles({}, (Problem(".", 1, 1, "P001", "the policy directory cannot be read"),))
    for name in entries:
        if not name.isprintable():
            shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)
            problems.append(Problem(shown, 1, 1, "P023", "the file name holds unprintable characters"))
            continue
        if len(contents) >= MAX_FILES:
            problems.append(Problem(name, 1, 1, "P027", f"more than {MAX_FILES} files in the policy directory"))
            break
        outcome = _read_entry(real_root, name)
        if isinstance(outcome, bytes):
            contents[name] = outcome
        else:
            problems.append(outcome)
    return RawFiles(contents, tuple(problems))


def hash_policy_files(root: Path) -> str:
    """Return a hash over names and contents; equal to the revision of a set loaded from the same bytes."""
    return read_directory(root).revision


def _entries(root: Path) -> list[str]:
    """Return the names of everything that is not hidden, one folder deep; deeper folders stand for themselves."""
    found: list[str] = []
    for entry in _visible(os.listdir(root)):
        if not os.path.isdir(root / entry) or not _stays_inside(root, root / entry):
            found.append(entry)
            continue
        try:
            found.extend(f"{entry}/{inner}" for inner in _visible(os.listdir(root / entry)))
        except OSError:
            found.append(entry)  # reading it as a file says what is wrong
    return found


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))[:_MAX_ENTRIES]


def _stays_inside(root: Path, path: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return False


def _read_entry(root: Path, name: str) -> bytes | Problem:
    path = root / name
    try:
        if not path.resolve(strict=True).is_relative_to(root):
            return Problem(name, 1, 1, "P026", "the link leaves the policy directory")
        # Opened without waiting: a named pipe must not hold the loader up. The kind is checked on what was opened.
        handle = os.open(path.resolve(strict=True), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError):
        return Problem(name, 1, 1, "P001", "the file cannot be read")
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return Problem(name, 1, 1, "P001", "this is not a plain file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return Problem(name, 1, 1, "P001", "the file cannot be read")
    finally:
        os.close(handle)
