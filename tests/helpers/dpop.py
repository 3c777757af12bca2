"""DPoP clients for tests: a key, its thumbprint, and proofs good or broken on purpose (RFC 9449)."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from helpers.issuer import NOW, SigningKey, b64

_JTI = count()
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ADDRESS = "https://pay.example.test/v1/payments"


def bare_jwk(key: SigningKey, **overrides: Any) -> dict[str, Any]:
    """Return the members of a key that a proof carries."""
    return key.jwk(**{"use": None, "alg": None, "kid": None, **overrides})


@dataclass
class DpopClient:
    """A client with a key.

    Attributes:
        key: Signs proofs.
        address: `htu` of proofs.
    """

    key: SigningKey = field(default_factory=lambda: SigningKey("ES256"))
    address: str = ADDRESS

    @property
    def jkt(self) -> str:
        """Return the RFC 7638 thumbprint of the key."""
        jwk = bare_jwk(self.key)
        members = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
        return b64(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())

    def claims(self, token: str, now: float = NOW, **overrides: Any) -> dict[str, Any]:
        """Return the claims of a good proof; an override of None takes one off."""
        claims = {
            "jti": f"proof-{next(_JTI)}",
            "htm": "POST",
            "htu": self.address,
            "iat": int(now),
            "ath": b64(hashlib.sha256(token.encode()).digest()),
            **overrides,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def header(self, **overrides: Any) -> dict[str, Any]:
        """Return the header of a good proof; an override of None takes a parameter off."""
        header = {"typ": "dpop+jwt", "alg": self.key.alg, "jwk": bare_jwk(self.key), **overrides}
        return {name: value for name, value in header.items() if value is not None}

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return a proof over exactly this content, with a good signature."""
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(self.key.sign(signed.encode()))}"

    def proof(self, token: str, now: float = NOW, **claims: Any) -> str:
        """Return a good proof but for `claims`."""
        return self.sign(self.header(), self.claims(token, now, **claims))


def malleated(proof: str) -> str:
    """Return an ES256 proof with the other of its two good signatures."""
    signed, _, text = proof.rpartition(".")
    raw = _unb64(text)
    r, s = int.from_bytes(raw[:32], "big"), P256_ORDER - int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
