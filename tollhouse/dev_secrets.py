"""`tollhouse dev-secrets`: certificates and keys for a stack on one machine. Never for production.

Its law: a private file is private from its first byte on, and what exists is replaced only when asked for.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tollhouse.development_authority import Authority, KeyPair, Usage, Validity

ENVOY_IDENTITY: Final = "spiffe://tollhouse.example/envoy"
"""The name in Envoy's client certificate, which both services are told to expect."""

VALID_DAYS: Final = 30
CARD_KEYS: Final = "card.keys"
STORE_PASSWORD: Final = "store.password"  # noqa: S105 - the name of a file
_CARD_KEY_BYTES: Final = 32
_SERVERS: Final = {
    "gate": ("localhost", "127.0.0.1", "envoy", "gate"),
    "extauthz": ("extauthz", "localhost", "127.0.0.1"),
    "ratelimit": ("ratelimit", "localhost", "127.0.0.1"),
    "issuer": ("issuer", "localhost", "127.0.0.1"),
}


class SecretsRefused(Exception):  # noqa: N818 - the word a person reads
    """The files were not written; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read the files besides root.

    Attributes:
        user: Numeric user id that owns them; None for whoever runs the command.
        group: Numeric group id that may read them too; None for nobody.
    """

    user: int | None = None
    group: int | None = None

    @property
    def file_mode(self) -> int:
        """Owner alone, or owner and group."""
        return 0o600 if self.group is None else 0o640

    @property
    def directory_mode(self) -> int:
        """Owner alone, or owner and group."""
        return 0o700 if self.group is None else 0o750

    def give(self, descriptor: int) -> None:
        """Hand an open file or directory over; raises PermissionError if that takes root."""
        if (self.user, self.group) != (None, None):
            os.fchown(descriptor, -1 if self.user is None else self.user, -1 if self.group is None else self.group)


def write_dev_secrets(directory: Path, readers: Readers, *, is_forced: bool, now: dt.datetime) -> tuple[Path, ...]:
    """Write a development authority's certificate, a key pair a part, a card key and a store password.

    Args:
        directory: Where to; made when missing, set to 0700 (0750 with a group).
        readers: Who may read the files.
        is_forced: Replace what is there.
        now: Aware date from which the certificates count.

    Raises:
        SecretsRefused: A file exists already and `is_forced` is not set, or one cannot be written.
    """
    contents = _contents(now)
    existing = sorted(name for name in contents if (directory / name).exists())
    if existing and not is_forced:
        raise SecretsRefused(f"{directory} holds {', '.join(existing)} already; --force replaces them")
    try:
        _lay_out(directory, readers)
        return tuple(_write(directory / name, content, readers) for name, content in contents.items())
    except OSError as error:
        raise SecretsRefused(f"{error.filename or directory} cannot be written: {error.strerror}") from error


def _contents(now: dt.datetime) -> dict[str, bytes]:
    authority = Authority("tollhouse development CA", Validity.days_from(now, VALID_DAYS))
    pairs = {"envoy": authority.issue((ENVOY_IDENTITY,), Usage.CLIENT)}
    pairs |= {name: authority.issue(names, Usage.SERVER) for name, names in _SERVERS.items()}
    files = {"ca.pem": authority.certificate}
    for name, pair in pairs.items():
        files |= _pair_files(name, pair)
    return {**files, CARD_KEYS: _card_key(now), STORE_PASSWORD: f"{secrets.token_urlsafe(32)}\n".encode()}


def _pair_files(name: str, pair: KeyPair) -> dict[str, bytes]:
    return {f"{name}.key": pair.private_key, f"{name}.pem": pair.certificate}


def _card_key(now: dt.datetime) -> bytes:
    key = base64.b64encode(secrets.token_bytes(_CARD_KEY_BYTES)).decode()
    return f"# Development only.\ndev-{now:%Y%m%d} {key}\n".encode()


def _lay_out(directory: Path, readers: Readers) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        readers.give(descriptor)
        os.fchmod(descriptor, readers.directory_mode)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, readers: Readers) -> Path:
    """Put a file in its place in one step, so that whoever watches it never reads half of it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            readers.give(file.fileno())
            os.fchmod(file.fileno(), readers.file_mode)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return path
