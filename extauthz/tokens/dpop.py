"""A DPoP proof (RFC 9449 section 4.3): read strictly, then checked for this request and this token.

Called by `constraint` after the access token was found good. Its law: sizes before base64, base64 before JSON, the
claims and the key's own rules before any signature is computed; the key is proven, not yet believed to be the client's.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from extauthz.model import AuthzRequest, Deny
from extauthz.tokens import refusals
from extauthz.tokens.claims import numeric_date
from extauthz.tokens.jose import CompactToken, parse_compact
from extauthz.tokens.keys import VerificationKey, read_key, usage_fault
from extauthz.tokens.providers import DpopPolicy
from extauthz.tokens.target import is_target
from extauthz.tokens.verify import canonical_algorithm, is_signature_valid

MAX_PROOF_CHARACTERS: Final = 8192
MAX_JTI_BYTES: Final = 256
PROOF_HEADER: Final = "dpop"
_PROOF_TYPE: Final = "dpop+jwt"
_THUMBPRINT_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
"""RFC 7638 section 3.2 and RFC 8037 section 2."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature and claims hold for this request.

    Attributes:
        jkt: Thumbprint of the key that signed it (RFC 7638).
        jti: Its own name under that key.
        nonce: As sent; None without one.
    """

    jkt: str
    jti: str
    nonce: str | None


@dataclass(frozen=True, slots=True)
class _Context:
    request: AuthzRequest
    token_hash: str
    policy: DpopPolicy
    now: float


def check_proof(request: AuthzRequest, token_digest: bytes, policy: DpopPolicy, now: float) -> Proof | Deny:
    """Check the proof that a request carries, all but its key's owner, its nonce and its use.

    Args:
        request: Its `dpop` header holds the proof.
        token_digest: SHA-256 of the access token.
        policy: Of the token's issuer.
        now: Wall clock, seconds since 1970.
    """
    parsed = _parse(request.headers.get(PROOF_HEADER, ""))
    if isinstance(parsed, Deny):
        return parsed
    context = _Context(request, thumbprint_text(token_digest), policy, now)
    for rule in _RULES:
        fault = rule(parsed.claims, context)
        if fault:
            return refusals.invalid_proof(fault)
    algorithm = canonical_algorithm(parsed.algorithm)
    if algorithm not in policy.algorithms:
        return refusals.invalid_proof("alg not accepted")
    key = proof_key(parsed.header.get("jwk"), algorithm)
    if isinstance(key, str):
        return refusals.invalid_proof(key)
    if not is_signature_valid(algorithm, key.public_key, parsed.signing_input, parsed.signature):
        return refusals.invalid_proof("signature does not verify")
    return Proof(key.thumbprint, parsed.claims["jti"], parsed.claims.get("nonce"))


def _parse(text: str) -> CompactToken | Deny:
    if not text:
        return refusals.invalid_proof("no proof")
    if "," in text or len(text) > MAX_PROOF_CHARACTERS:
        return refusals.invalid_proof("more than one proof, or too long")
    parsed = parse_compact(text) if text.isascii() else None
    if not isinstance(parsed, CompactToken):
        return refusals.invalid_proof("not a compact JWS")
    return parsed if parsed.token_type == _PROOF_TYPE else refusals.invalid_proof("typ is not dpop+jwt")


@dataclass(frozen=True, slots=True)
class ProofKey:
    """The key in a proof's header.

    Attributes:
        public_key: Key object of `cryptography`.
        thumbprint: RFC 7638, SHA-256, base64url.
    """

    public_key: Any
    thumbprint: str


def proof_key(jwk: Any, algorithm: str) -> ProofKey | str:
    """Return the key of a proof's header for a canonical `alg`, or what is wrong with it (section 4.3, 5 to 7)."""
    if not isinstance(jwk, dict):
        return "no jwk"
    fault = usage_fault(jwk)
    if fault:
        return fault
    if "alg" in jwk and not (isinstance(jwk["alg"], str) and canonical_algorithm(jwk["alg"]) == algorithm):
        return "jwk is for another alg"
    members = _THUMBPRINT_MEMBERS.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if members is None or not all(isinstance(jwk.get(name), str) for name in members):
        return "jwk is not an EC, RSA or OKP key"
    material = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), ensure_ascii=False)
    key = _read_material(material)
    if isinstance(key, str):
        return key
    if algorithm not in key.algorithms:
        return "alg does not fit the key"
    return ProofKey(key.public_key, thumbprint_text(sha256(material.encode("utf-8", "surrogatepass")).digest()))


@lru_cache(maxsize=1024)
def _read_material(material: str) -> VerificationKey | str:
    """Read the members of a thumbprint as a key; clients come back with theirs, and its point is checked once."""
    return read_key(json.loads(material))


def thumbprint_text(digest: bytes) -> str:
    """Return a hash as base64url without padding."""
    return urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _check_method(claims: Mapping[str, Any], context: _Context) -> str:
    """Section 4.3, point 8; methods are case-sensitive (RFC 9110 section 9.1)."""
    return "" if claims.get("htm") == context.request.method else "htm is another method"


def _check_address(claims: Mapping[str, Any], context: _Context) -> str:
    """Section 4.3, point 9."""
    htu = claims.get("htu")
    return "" if isinstance(htu, str) and is_target(htu, context.request) else "htu is another address"


def _check_time(claims: Mapping[str, Any], context: _Context) -> str:
    """Section 4.3, point 11."""
    issued_at = numeric_date(claims.get("iat"))
    if issued_at is None:
        return "iat is not a NumericDate"
    policy = context.policy
    is_near = context.now - policy.past_seconds <= issued_at <= context.now + policy.future_seconds
    return "" if is_near else "iat lies outside the window"


def _check_token(claims: Mapping[str, Any], context: _Context) -> str:
    """Section 4.3, point 12: the hash of the token that came with it."""
    ath = claims.get("ath")
    if not isinstance(ath, str) or not ath.isascii():
        return "ath missing"
    return "" if hmac.compare_digest(ath, context.token_hash) else "ath is of another token"


def _check_names(claims: Mapping[str, Any], _: _Context) -> str:
    """Section 4.2: `jti` is text; bounded, because it is remembered (section 11.1)."""
    jti, nonce = claims.get("jti"), claims.get("nonce", "")
    if not isinstance(jti, str) or not 0 < len(jti.encode("utf-8", "surrogatepass")) <= MAX_JTI_BYTES:
        return "jti missing, not text or too long"
    return "" if isinstance(nonce, str) else "nonce is not text"


_RULES: Final[tuple[Callable[[Mapping[str, Any], _Context], str], ...]] = (
    _check_method,
    _check_address,
    _check_time,
    _check_token,
    _check_names,
)
