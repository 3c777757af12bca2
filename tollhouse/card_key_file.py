"""`tollhouse card-key`: makes the keys that card numbers are hashed with, and replaces one by another.

Its law: a key is never printed, a file is private from its first byte on, and it is replaced whole or not at all.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import re
import secrets
from pathlib import Path
from typing import Final

from chassis.secret_file import SecretInvalid
from policy.card_keys import MIN_KEY_BYTES, CardSecret, read_card_keys_file

_HEAD: Final = "# Keys that card numbers are hashed with: the current one first, then the one it replaces.\n"
_MODE: Final = 0o600


class CardKeyRefused(Exception):  # noqa: N818 - the word a person reads
    """The file was not written; the text says why and holds no key."""


def new_card_keys(path: Path, today: dt.date) -> str:
    """Write a new file with one key; return its key id.

    Raises:
        CardKeyRefused: There is a file already, or it cannot be written.
    """
    if path.exists():
        raise CardKeyRefused(f"{path} exists; `tollhouse card-key rotate` puts a new key before the one in it")
    secret = _draw(today, ())
    _replace(path, (secret,))
    return secret.key_id


def rotate_card_keys(path: Path, today: dt.date) -> tuple[str, str]:
    """Put a new key before the current one; return both key ids, the new one first.

    Raises:
        CardKeyRefused: The file holds two keys (the rotation before is not finished), or cannot be used.
    """
    current = _read(path)
    if len(current) > 1:
        raise CardKeyRefused(
            f"{path} still holds the key that {current[0].key_id} replaces; drop it first: `tollhouse card-key drop`"
        )
    secret = _draw(today, current)
    _replace(path, (secret, *current))
    return secret.key_id, current[0].key_id


def drop_old_card_key(path: Path) -> str:
    """Take the replaced key out of the file; return its key id.

    Raises:
        CardKeyRefused: The file holds one key alone, or cannot be used.
    """
    secrets_ = _read(path)
    if len(secrets_) < 2:
        raise CardKeyRefused(f"{path} holds one key, and cards are counted by it")
    _replace(path, secrets_[:1])
    return secrets_[1].key_id


def _read(path: Path) -> tuple[CardSecret, ...]:
    try:
        return read_card_keys_file(str(path)).secrets
    except SecretInvalid as error:
        raise CardKeyRefused(str(error)) from error


def _draw(today: dt.date, earlier: tuple[CardSecret, ...]) -> CardSecret:
    return CardSecret(_key_id(today, {secret.key_id for secret in earlier}), secrets.token_bytes(MIN_KEY_BYTES))


def _key_id(today: dt.date, earlier: set[str]) -> str:
    """Return an id that no key of the day had before: operators tell by it which key a replica has."""
    stem = f"k{today:%Y%m%d}"
    ours = [re.fullmatch(rf"{stem}(?:-([1-9][0-9]*))?", key_id) for key_id in earlier]
    numbers = [int(found[1] or 1) for found in ours if found]
    return f"{stem}-{max(numbers) + 1}" if numbers else stem


def _replace(path: Path, keys: tuple[CardSecret, ...]) -> None:
    path = Path(
        os.path.realpath(path)
    )  # the file that a link leads to, or whoever reads it by its own name keeps the old keys
    lines = "".join(f"{key.key_id} {base64.b64encode(key.secret).decode('ascii')}\n" for key in keys)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        mode, owner = _mode_and_owner(path)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
        with os.fdopen(descriptor, "w") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            file.write(_HEAD + lines)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CardKeyRefused(f"{path} cannot be written: {error.strerror}") from error


def _mode_and_owner(path: Path) -> tuple[int, tuple[int, int] | None]:
    """Return mode and owner of the file that is replaced: the service must still be able to read it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return _MODE, None
    return found.st_mode & 0o770, (found.st_uid, found.st_gid)
