"""Token issuers' keys on disk, so that a service that starts while an issuer is away can still verify tokens.

Called by `key_sets`: read once at start, written in a thread after a fetch. Its law: a snapshot never widens trust.
It counts only as what the same provider's issuer published, under the same rules of where to ask; whoever could have
forged the file makes it worthless; and keys out of it live no longer than they would have in the process that wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.tokens.keys import MAX_JWKS_BYTES, JwksInvalid, accepted_jwks
from extauthz.tokens.providers import CompiledProvider

FORMAT: Final = 1
_LIMITS: Final = JsonLimits(max_bytes=MAX_JWKS_BYTES + 16_384, max_depth=10)
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class SnapshotRefused(Exception):  # noqa: N818 - reads as what it is
    """A snapshot cannot be used or written; the message is a fixed text."""


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A JWK set as it was fetched.

    Attributes:
        body: The document.
        fetched_at: Wall clock, seconds since 1970.
        max_age: How many seconds the issuer said it may be kept; None for no usable answer.
    """

    body: bytes
    fetched_at: float
    max_age: float | None


class KeySnapshots:
    """One file for each provider, in a directory of the service's own."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def path(self, provider: CompiledProvider) -> Path:
        """Return where a provider's keys lie."""
        digest = hashlib.sha256(provider.issuer.encode("utf-8")).hexdigest()
        return self._directory / f"{provider.id}-{digest[:16]}.json"

    def read(self, provider: CompiledProvider) -> KeyDocument | None:
        """Return the keys that were kept for `provider`, or None when there is no file.

        Raises:
            SnapshotRefused: There is one that must not be used.
        """
        check_directory(str(self._directory))
        try:
            content = _read_own_file(self.path(provider))
        except FileNotFoundError:
            return None
        except OSError:
            raise SnapshotRefused("cannot be read") from None
        try:
            snapshot = parse_strict(content, _LIMITS)
        except StrictJsonError:
            raise SnapshotRefused("is not strict JSON") from None
        return _document(snapshot, provider)

    def write(self, provider: CompiledProvider, document: KeyDocument) -> None:
        """Replace the provider's file in one step; blocks on the disk.

        Raises:
            SnapshotRefused: It cannot be written; an older file may still be there, which ages as it did.
        """
        try:
            check_directory(str(self._directory))
            snapshot = {
                **_identity(provider),
                "fetched_at": int(document.fetched_at),
                "max_age": None if document.max_age is None else int(document.max_age),
                # Accepted keys alone: a private key that an issuer published by mistake is not copied.
                "keys": accepted_jwks(document.body),
            }
            # Members that nobody reads may hold decimals; as text they are still not read.
            text = json.dumps(snapshot, ensure_ascii=False, separators=(",", ":"), default=str)
            _replace(self.path(provider), text.encode("utf-8"))
        except (OSError, ValueError, JwksInvalid):
            raise SnapshotRefused("cannot be written") from None


def check_directory(directory: str) -> None:
    """Look at the directory of the snapshots.

    The group may write to it, as volumes of containers have it: no one but the owner can make a file that counts.

    Raises:
        SnapshotRefused: It is no directory, of another user, or writable by every user.
    """
    try:
        found = os.stat(directory)
    except (OSError, ValueError):
        raise SnapshotRefused("the directory cannot be read") from None
    if not stat.S_ISDIR(found.st_mode):
        raise SnapshotRefused("this is no directory")
    if found.st_uid not in (os.geteuid(), 0):
        raise SnapshotRefused("the directory belongs to another user")
    if found.st_mode & stat.S_IWOTH:
        raise SnapshotRefused("every user can write to the directory")


def _read_own_file(path: Path) -> bytes:
    """Return the bytes of a file that this user alone can have written."""
    # Without waiting and without links: what was opened is what is looked at.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        # A second name would let somebody keep an old file of ours and put it back later.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise SnapshotRefused("is no plain file")
        if found.st_uid != os.geteuid() or found.st_mode & _WRITABLE_BY_OTHERS:
            raise SnapshotRefused("could have been written by another user")
        content = file.read(_LIMITS.max_bytes + 1)
    if len(content) > _LIMITS.max_bytes:
        raise SnapshotRefused("is too long")
    return content


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _identity(provider: CompiledProvider) -> dict[str, Any]:
    """Return all that decides whose keys these are and where they may come from."""
    source = provider.source
    return {
        "format": FORMAT,
        "provider": provider.id,
        "issuer": source.issuer,
        "discovery": source.discovery,
        "jwks_uri": source.jwks_uri,
        "reach": source.reach.value,
        "hosts": sorted(f"{host} {port}" for host, port in source.hosts),
    }


def _document(snapshot: Any, provider: CompiledProvider) -> KeyDocument:
    identity = _identity(provider)
    if not isinstance(snapshot, Mapping) or snapshot.keys() != identity.keys() | {"fetched_at", "max_age", "keys"}:
        raise SnapshotRefused("is not of this format")
    # The texts compare as text: 1 and true are equal in Python, and are not here.
    if any(json.dumps(snapshot[name], default=str) != json.dumps(value) for name, value in identity.items()):
        raise SnapshotRefused("is of another provider, issuer, source or format")
    fetched_at, max_age, keys = snapshot["fetched_at"], snapshot["max_age"], snapshot["keys"]
    if not _is_count(fetched_at) or not (max_age is None or _is_count(max_age)) or not isinstance(keys, list):
        raise SnapshotRefused("is not of this format")
    body = json.dumps({"keys": keys}, ensure_ascii=False, default=str).encode("utf-8")
    return KeyDocument(body, float(fetched_at), None if max_age is None else float(max_age))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
