"""A token issuer's JWK set (RFC 7517), read once and indexed for verification.

A bad key is skipped and named for the operator; the rest of the set serves. Symmetric and private
keys are dropped: whoever publishes one has published a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.tokens.jose import MAX_KID_CHARACTERS, decode_base64url
from extauthz.tokens.verify import EC_ALGORITHM_BY_CURVE, EDWARDS_ALGORITHM, RSA_ALGORITHMS, canonical_algorithm

MAX_JWKS_BYTES = 256 * 1024
MAX_KEYS = 100
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT_BITS = 64
"""Beyond these, one verification would hold up every other request."""

_LIMITS = JsonLimits(max_bytes=MAX_JWKS_BYTES, max_depth=8)
_SYMMETRIC_PUBLISHED = "symmetric key published"
_PRIVATE_PUBLISHED = "private key published"
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_SMALL_PRIMES = tuple(p for p in range(3, 168) if all(p % q for q in range(2, p)))


class JwksInvalid(Exception):  # noqa: N818 - the word operators read
    """The document is no JWK set; the message is a fixed text."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key.

    Attributes:
        kid: Its name, or None.
        algorithms: Canonical names of the algorithms it may verify.
        public_key: Key object of `cryptography`.
        fingerprint: Hash of the key material.
    """

    kid: str | None
    algorithms: frozenset[str]
    public_key: Any
    fingerprint: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one JWK set.

    Attributes:
        by_name: `(kid, algorithm)` to its key; a pair that two different keys claim is left out.
            `(None, algorithm)` is for tokens without kid: there when one key alone fits.
        skipped: Why keys were left out, fixed texts.
        fingerprint: Equal for sets that verify the same tokens.
    """

    by_name: Mapping[tuple[str | None, str], VerificationKey]
    skipped: tuple[str, ...]
    fingerprint: str

    @property
    def is_leaking(self) -> bool:
        """Tell whether a key that must be secret was published; it is left out, and its owner must be told."""
        return _SYMMETRIC_PUBLISHED in self.skipped or _PRIVATE_PUBLISHED in self.skipped

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key for a token header, or None."""
        return self.by_name.get((kid, algorithm))


def read_jwks(body: bytes) -> KeySet:
    """Read a JWK set document.

    A set without one usable key is a set all the same: it is how an issuer withdraws its last key.

    Raises:
        JwksInvalid: Not a JWK set, or too many keys.
    """
    keys: list[VerificationKey] = []
    skipped: list[str] = []
    for jwk in _listed_keys(body):
        read = read_key(jwk)
        if isinstance(read, VerificationKey):
            keys.append(read)
        else:
            skipped.append(read)
    by_name, ambiguous = _index(keys)
    return KeySet(by_name, (*skipped, *ambiguous), _set_fingerprint(by_name))


def accepted_jwks(body: bytes) -> list[Mapping[str, Any]]:
    """Return the keys of a JWK set document that `read_jwks` takes, as they stand in it; none of them is private.

    Raises:
        JwksInvalid: As `read_jwks`.
    """
    return [jwk for jwk in _listed_keys(body) if isinstance(read_key(jwk), VerificationKey)]


def _listed_keys(body: bytes) -> list[Any]:
    try:
        document = parse_strict(body, _LIMITS)
    except StrictJsonError as error:
        raise JwksInvalid(f"key set is not strict JSON: {error.detail}") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise JwksInvalid("key set has no list of keys")
    if len(listed) > MAX_KEYS:
        raise JwksInvalid("key set lists too many keys")
    return listed


def _index(keys: Iterable[VerificationKey]) -> tuple[dict[tuple[str | None, str], VerificationKey], list[str]]:
    """Index by kid and algorithm; two different keys under one name are no name (RFC 7517 section 4.5)."""
    candidates: dict[tuple[str | None, str], dict[str, VerificationKey]] = {}
    for key in keys:
        for algorithm in key.algorithms:
            for kid in {key.kid, None}:
                candidates.setdefault((kid, algorithm), {})[key.fingerprint] = key
    index = {name: next(iter(found.values())) for name, found in candidates.items() if len(found) == 1}
    ambiguous = ["two keys share a kid" for (kid, _), found in candidates.items() if kid is not None and len(found) > 1]
    return index, ambiguous


def _set_fingerprint(by_name: Mapping[tuple[str | None, str], VerificationKey]) -> str:
    lines = sorted(repr((kid, algorithm, key.fingerprint)) for (kid, algorithm), key in by_name.items())
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def read_key(jwk: Any) -> VerificationKey | str:
    """Return one public key, or the reason why it cannot be used, a fixed text."""
    if not isinstance(jwk, dict):
        return "key is not an object"
    fault = usage_fault(jwk)
    if fault:
        return fault
    readers = {"RSA": _read_rsa, "EC": _read_ec, "OKP": _read_okp}
    reader = readers.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if reader is None:
        return "kty is not RSA, EC or OKP"
    try:
        material = reader(jwk)
    except ValueError:
        # cryptography's own checks: a point off the curve, an unusable exponent.
        return "key material is invalid"
    if isinstance(material, str):
        return material
    public_key, fits, fingerprint = material
    algorithms = _algorithms(jwk, fits)
    if not algorithms:
        return "alg does not fit the key"
    return VerificationKey(jwk.get("kid"), algorithms, public_key, fingerprint)


def usage_fault(jwk: Mapping[str, Any]) -> str:
    """Check what the key says it is for (RFC 7517 sections 4.2 and 4.3), and that it is public."""
    if jwk.get("kty") == "oct":
        return _SYMMETRIC_PUBLISHED
    if _PRIVATE_MEMBERS & jwk.keys():
        return _PRIVATE_PUBLISHED
    if "use" in jwk and jwk["use"] != "sig":
        return "use is not sig"
    operations = jwk.get("key_ops")
    if "key_ops" in jwk and not (isinstance(operations, list) and "verify" in operations):
        return "key_ops without verify"
    kid = jwk.get("kid")
    if "kid" in jwk and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS):
        return "kid is not acceptable"
    return ""


def _algorithms(jwk: Mapping[str, Any], fits: frozenset[str]) -> frozenset[str]:
    """Return the one algorithm that the key names, else all that fit its type (rfc8725bis section 3.1)."""
    if "alg" not in jwk:
        return fits
    named = jwk["alg"]
    return fits & {canonical_algorithm(named)} if isinstance(named, str) else frozenset()


_Material = tuple[Any, frozenset[str], str]


def _read_rsa(jwk: Mapping[str, Any]) -> _Material | str:
    modulus, exponent = _unsigned(jwk.get("n")), _unsigned(jwk.get("e"))
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
        return "RSA key size not accepted"
    if _is_weak_modulus(modulus):
        return "RSA modulus from a broken generator"
    public_key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return public_key, RSA_ALGORITHMS, _fingerprint("RSA", jwk["n"], jwk["e"])


def _read_ec(jwk: Mapping[str, Any]) -> _Material | str:
    curve_name = jwk.get("crv")
    curve = _CURVES.get(curve_name) if isinstance(curve_name, str) else None
    if curve is None or not isinstance(curve_name, str):
        return "crv not accepted"
    # RFC 7518 section 6.2.1.2: coordinates have the full length of the curve, leading zeros included.
    size = (curve.key_size + 7) // 8
    numbers = ec.EllipticCurvePublicNumbers(
        _unsigned(jwk.get("x"), size=size), _unsigned(jwk.get("y"), size=size), curve
    )
    algorithms = frozenset({EC_ALGORITHM_BY_CURVE[curve_name]})
    return numbers.public_key(), algorithms, _fingerprint(curve_name, jwk["x"], jwk["y"])


def _read_okp(jwk: Mapping[str, Any]) -> _Material | str:
    if jwk.get("crv") != "Ed25519":
        return "crv not accepted"
    public_key = Ed25519PublicKey.from_public_bytes(_octets(jwk.get("x")))
    return public_key, frozenset({EDWARDS_ALGORITHM}), _fingerprint("Ed25519", jwk["x"])


def _octets(text: Any) -> bytes:
    decoded = decode_base64url(text) if isinstance(text, str) else None
    if not decoded:
        raise ValueError("not base64url")
    return decoded


def _unsigned(text: Any, *, size: int | None = None) -> int:
    octets = _octets(text)
    if size is not None and len(octets) != size:
        raise ValueError("wrong length")
    return int.from_bytes(octets, "big")


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("ascii")).hexdigest()


def _is_weak_modulus(modulus: int) -> bool:
    """Recognise moduli of the generator of CVE-2017-15361 (ROCA), whose private keys can be computed.

    Its primes leave only powers of 65537 as remainders; a good modulus passes for one with a
    probability below 2^-27.
    """
    return all(modulus % prime in _powers(prime) for prime in _SMALL_PRIMES)


def _powers(prime: int) -> frozenset[int]:
    powers, value = set(), 1
    while value not in powers:
        powers.add(value)
        value = value * 65537 % prime
    return frozenset(powers)
