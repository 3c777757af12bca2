"""Card keys: keyed hashes that stand for a card number, so that no number is kept or handed on.

Called by extauthz' body reader, and by ratelimit for the values in names of descriptors' counters. Its law: a card
number goes in, HMAC-SHA-256 under a secret of the operator comes out; plain hashes of card numbers can be guessed,
because a number has few free digits (PCI DSS 4.0.1, 3.5.1.1). The file may hold two keys while one replaces the other.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chassis.masking import passes_luhn
from chassis.secret_file import SecretInvalid, exposure_warnings, fingerprint_of, read_secret
from policy.handoff import MAX_CARD_KEYS

MIN_KEY_BYTES: Final = 32
MAX_KEY_BYTES: Final = 512
_MIN_DISTINCT_BYTES: Final = 12  # 32 random bytes have fewer with a chance below 10^-12
_KEY_ID: Final = re.compile(r"[a-z0-9-]{1,16}\Z")
# ISO/IEC 7812-1: at most 19 digits. None begins with 0, and one that did would be a second spelling of another.
_CARD_NUMBER: Final = re.compile(r"[1-9][0-9]{11,18}\Z")


@dataclass(frozen=True, slots=True)
class CardSecret:
    """One key of the file; its bytes are in no text of this object.

    Attributes:
        key_id: 1 to 16 small letters, digits or hyphens; public.
        secret: At least `MIN_KEY_BYTES` random bytes.
    """

    key_id: str
    secret: bytes = field(repr=False)

    def card_key(self, digits: str) -> str:
        """Return `<key id>.<base64url of HMAC-SHA-256>` of a card number, no padding."""
        mac = hmac.digest(self.secret, digits.encode("ascii"), "sha256")
        return f"{self.key_id}.{_text(mac)}"

    def value_key(self, what: str, value: str) -> str:
        """Return the same of another value; `what` keeps equal values of different meaning apart, and from cards."""
        return f"{self.key_id}.{self.digest(what, value)}"

    def name_key(self, text: str) -> str:
        """Return the same of the name of a counter: one step, since it is taken for every request."""
        return f"{self.key_id}.{_text(hmac.digest(self.secret, b'name:' + text.encode(), 'sha256'))}"

    def digest(self, what: str, *parts: str | bytes) -> str:
        """Return base64url of HMAC-SHA-256 of `what` and the parts, each behind its length, no padding."""
        mac = hmac.new(self.secret, what.encode("ascii"), "sha256")
        for part in parts:
            data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
            mac.update(b"\0%d:" % len(data))
            mac.update(data)
        return _text(mac.digest())


@dataclass(frozen=True, slots=True)
class CardKeyring:
    """The keys in force, the current one first."""

    secrets: tuple[CardSecret, ...]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The public ids, the current key's first."""
        return tuple(secret.key_id for secret in self.secrets)

    def counts_on_from(self, before: CardKeyring) -> bool:
        """Tell whether a key of `before` is still here, id and secret: without one every card's counts begin anew."""
        return not set(self.secrets).isdisjoint(before.secrets)

    def card_keys(self, digits: str) -> tuple[str, ...]:
        """Return the card's key under every secret, the current one's first."""
        return tuple(secret.card_key(digits) for secret in self.secrets)

    def value_keys(self, what: str, value: str) -> tuple[str, ...]:
        """Return a value's key under every secret, the current one's first."""
        return tuple(secret.value_key(what, value) for secret in self.secrets)


@dataclass(frozen=True, slots=True)
class CardKeyFile:
    """The operator's card key file, read anew at every load; an empty path stands for none."""

    path: str

    def read(self) -> CardKeyring | None:
        """Return the keys in force, or None without a file; raises SecretInvalid."""
        return read_card_keys_file(self.path) if self.path else None

    def fingerprint(self) -> str:
        """Return what changes whenever the file does."""
        return fingerprint_of(self.path) if self.path else ""

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the file."""
        return exposure_warnings(self.path)


def _text(mac: bytes) -> str:
    return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")


def is_card_number(text: str) -> bool:
    """Tell whether `text` is a card number in its one spelling: 12 to 19 digits, right check digit."""
    return _CARD_NUMBER.match(text) is not None and passes_luhn(text)


def read_card_keys_file(path: str) -> CardKeyring:
    """Read a card key file: `<key id> <base64>` a line, `#` comments, the current key first.

    Raises:
        SecretInvalid: With every problem, its line number, and nothing of the keys.
    """
    content = read_secret(path)
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise SecretInvalid((f"{path}: holds characters beyond ASCII",)) from None
    secrets: list[CardSecret] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        secret = _read_line(line, secrets)
        if isinstance(secret, CardSecret):
            secrets.append(secret)
        else:
            problems.append(f"{path}:{number}: {secret}")
    if not secrets and not problems:
        problems.append(f"{path}: holds no key")
    if problems:
        raise SecretInvalid(tuple(problems))
    return CardKeyring(tuple(secrets))


def _read_line(line: str, earlier: Sequence[CardSecret]) -> CardSecret | str:
    parts = line.split()
    if len(parts) != 2:
        return "expected a key id and a base64 key"
    key_id, text = parts
    if not _KEY_ID.match(key_id):
        return "the key id must be 1 to 16 small letters, digits or hyphens"
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "the key is not base64 (RFC 4648 section 4, with padding)"
    if not MIN_KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        return f"the key must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
    if len(set(secret)) < _MIN_DISTINCT_BYTES:
        return "the key is not random"
    if any(key_id == other.key_id for other in earlier):
        return "this key id stands in an earlier line"
    if any(hmac.compare_digest(secret, other.secret) for other in earlier):
        return "this key stands in an earlier line under another id"
    if len(earlier) >= MAX_CARD_KEYS:
        return f"at most {MAX_CARD_KEYS} keys: the current one and the one it replaces"
    return CardSecret(key_id, secret)
