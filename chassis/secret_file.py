"""Reads secrets from files: what stands in one never becomes an argument, a variable or part of a text.

Called at start, and by whoever takes up a changed file later. Its law: an error names the file and what
is wrong with it, never what it holds.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Final

MAX_BYTES: Final = 65_536
_READABLE_BY_ALL: Final = stat.S_IROTH


class SecretInvalid(Exception):  # noqa: N818 - reads as what it is
    """A secret file cannot be used.

    Attributes:
        problems: One line each, for a person; they quote nothing of the file.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """Return one problem a line."""
        return "\n".join(self.problems)


def read_secret(path: str) -> bytes:
    """Return the bytes of a secret file; links are followed, as Kubernetes mounts secrets as links.

    Raises:
        SecretInvalid: It is missing, unreadable, no plain file, empty or longer than `MAX_BYTES`.
    """
    try:
        # Without waiting: a named pipe must not hold the start up. What was opened is what is looked at.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _invalid(path, getattr(error, "strerror", None) or "cannot be opened") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _invalid(path, "is no plain file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _invalid(path, error.strerror or "cannot be read") from None
    finally:
        os.close(handle)
    if not content.strip():
        raise _invalid(path, "is empty")
    if len(content) > MAX_BYTES:
        raise _invalid(path, f"is longer than {MAX_BYTES} bytes")
    return content


def read_one_line(path: str) -> str:
    """Return the only line of a secret file, such as a password, without the line feed at its end.

    Raises:
        SecretInvalid: As `read_secret`; or the file is not UTF-8, or holds more than one line or a control character.
    """
    try:
        text = read_secret(path).decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid(path, "is not UTF-8") from None
    line = text.removesuffix("\n").removesuffix("\r")
    if not line or any(ord(char) < 32 or ord(char) == 127 for char in line):
        raise _invalid(path, "must hold one line without control characters")
    return line


def fingerprint_of(path: str) -> str:
    """Return a hash of the file's bytes, or of why it cannot be read; never raises."""
    try:
        return hashlib.sha256(read_secret(path)).hexdigest()
    except SecretInvalid as error:
        return f"invalid: {error}"


def exposure_warnings(path: str) -> tuple[str, ...]:
    """Return a warning when every user of the machine may read the file; none for a path that names no file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ()
    if mode & _READABLE_BY_ALL:
        return (f"{path} can be read by every user of this machine; chmod 640 or stricter",)
    return ()


def _invalid(path: str, why: str) -> SecretInvalid:
    return SecretInvalid((f"{path}: {why}",))
