"""DPoP nonces without a store: any replica that has the key knows them (RFC 9449 sections 8, 9 and 11.3).

A nonce is a stretch of time and its HMAC. It is good in its own stretch and in the next one, and while it is in its
second the client is given a new one.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from chassis.secret_file import exposure_warnings, fingerprint_of
from extauthz.tokens.jose import decode_base64url
from policy.card_keys import read_card_keys_file

NONCE_SECONDS: Final = 60
MAX_NONCE_CHARACTERS: Final = 256
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 16
_PURPOSE: Final = b"tollhouse dpop nonce 1\n"


class NonceAge(Enum):
    """What a nonce is worth now."""

    CURRENT = "current"
    LAPSING = "lapsing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DpopNonces:
    """Makes and knows nonces.

    Attributes:
        secrets: Keys in force; the first one makes nonces, all are accepted while one replaces the other.
    """

    secrets: Sequence[bytes] = field(repr=False)

    def issue(self, now: float) -> str:
        """Return the nonce of this moment (wall clock, seconds since 1970)."""
        stretch = int(now // NONCE_SECONDS).to_bytes(_TIME_BYTES, "big")
        return urlsafe_b64encode(stretch + _mac(self.secrets[0], stretch)).decode("ascii")

    def age(self, nonce: str | None, now: float) -> NonceAge:
        """Say what a nonce of a proof is worth."""
        raw = decode_base64url(nonce) if nonce and len(nonce) <= MAX_NONCE_CHARACTERS else None
        if raw is None or len(raw) != _TIME_BYTES + _MAC_BYTES:
            return NonceAge.UNKNOWN
        stretch, mac = raw[:_TIME_BYTES], raw[_TIME_BYTES:]
        if not any(hmac.compare_digest(mac, _mac(secret, stretch)) for secret in self.secrets):
            return NonceAge.UNKNOWN
        behind = int(now // NONCE_SECONDS) - int.from_bytes(stretch, "big")
        # One ahead: another replica's clock is already there.
        if behind in (0, -1):
            return NonceAge.CURRENT
        return NonceAge.LAPSING if behind == 1 else NonceAge.UNKNOWN


def _mac(secret: bytes, stretch: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + stretch, "sha256")[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class NonceKeyFile:
    """The operator's nonce key file, written like a card key file and read anew at every load; empty for none."""

    path: str

    def read(self) -> DpopNonces | None:
        """Return nonces under the keys in force, or None without a file; raises SecretInvalid."""
        if not self.path:
            return None
        return DpopNonces(tuple(key.secret for key in read_card_keys_file(self.path).secrets))

    def fingerprint(self) -> str:
        """Return what changes whenever the file does."""
        return fingerprint_of(self.path) if self.path else ""

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the file."""
        return exposure_warnings(self.path)
