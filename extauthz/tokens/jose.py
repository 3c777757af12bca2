"""The strict reader of compact JWS text (RFC 7515 section 3.1, RFC 8725).

Its law: sizes are checked before base64, base64 before JSON, JSON before any key is touched; one
text has one reading. Nothing here is believed yet: the signature is checked later.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.model import Deny
from extauthz.tokens import refusals

MAX_HEADER_CHARACTERS = 4096
MAX_SIGNATURE_CHARACTERS = 1400
"""Room for the signature of an RSA key of 8192 bits."""
MAX_KID_CHARACTERS = 256
_HEADER_LIMITS = JsonLimits(max_bytes=MAX_HEADER_CHARACTERS, max_depth=4)
_CLAIMS_LIMITS = JsonLimits(max_bytes=8192, max_depth=16)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+\Z")
# The characters whose unused low bits are zero, by length of the last group (RFC 4648 section 3.5).
_LAST_OF_TWO = frozenset("AQgw")
_LAST_OF_THREE = frozenset("AEIMQUYcgkosw048")
_TO_STANDARD = str.maketrans("-_", "+/")

_FORBIDDEN_PARAMETERS = ("crit", "b64", "zip", "enc")
"""`crit`: no extension is understood here (RFC 7515 section 4.1.11); `b64` is never in a JWT (RFC 7797
section 7); `zip` and `enc` belong to encrypted tokens, which were never agreed (rfc8725bis section 3.3)."""


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A JWS in parts, well-formed and not verified.

    Attributes:
        algorithm: Header `alg`.
        token_type: Header `typ`, lower case.
        kid: Header `kid`, or None.
        signing_input: What the signature covers (RFC 7515 section 5.2).
        signature: Raw bytes.
        claims: The JWT claims set, unverified.
        header: All of it; what else stands there is for the reader of DPoP proofs alone.
    """

    algorithm: str
    token_type: str
    kid: str | None
    signing_input: bytes
    signature: bytes
    claims: Mapping[str, Any]
    header: Mapping[str, Any] = field(default_factory=dict)


def decode_base64url(text: str) -> bytes | None:
    """Decode one part, or return None.

    Only the URL alphabet, no padding, no blank, and unused trailing bits must be zero, so that no
    two texts stand for the same bytes (RFC 7515 section 2, RFC 4648 section 3.5).
    """
    rest = len(text) % 4
    if rest == 1 or not _BASE64URL.match(text):
        return None
    if (rest == 2 and text[-1] not in _LAST_OF_TWO) or (rest == 3 and text[-1] not in _LAST_OF_THREE):
        return None
    return binascii.a2b_base64(text.translate(_TO_STANDARD) + "=" * (-len(text) % 4))


def parse_compact(token: str) -> CompactToken | Deny:
    """Split a token into its three parts and read header and claims; `token` is length-capped already."""
    parts = token.split(".", 5)
    if len(parts) != 3:
        return refusals.invalid("not three parts")
    header_text, claims_text, signature_text = parts
    if len(header_text) > MAX_HEADER_CHARACTERS or len(signature_text) > MAX_SIGNATURE_CHARACTERS:
        return refusals.invalid("part too long")
    signature = decode_base64url(signature_text)
    header = _read_object(header_text, _HEADER_LIMITS)
    if signature is None or header is None:
        return refusals.invalid("header or signature not readable")
    fault = _header_fault(header)
    if fault:
        return refusals.invalid(fault)
    claims = _read_object(claims_text, _CLAIMS_LIMITS)
    if claims is None:
        return refusals.invalid("claims not readable")
    return CompactToken(
        algorithm=header["alg"],
        token_type=header["typ"].lower(),
        kid=header.get("kid"),
        signing_input=token[: len(header_text) + 1 + len(claims_text)].encode("ascii"),
        signature=signature,
        claims=claims,
        header=header,
    )


def _read_object(text: str, limits: JsonLimits) -> dict[str, Any] | None:
    raw = decode_base64url(text)
    if raw is None:
        return None
    try:
        value = parse_strict(raw, limits)
    except StrictJsonError:
        return None
    return value if isinstance(value, dict) else None


def _header_fault(header: dict[str, Any]) -> str:
    """Name the first broken header rule, or return an empty text.

    `jwk`, `jku`, `x5u` and `x5c` are neither read nor refused: keys come from the configured
    issuer alone, and some issuers put these parameters into every token.
    """
    if any(name in header for name in _FORBIDDEN_PARAMETERS):
        return "header parameter not accepted"
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("typ"), str):
        return "alg or typ missing"
    kid = header.get("kid")
    if "kid" in header and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS):
        return "kid not acceptable"
    if "cty" in header:
        return "nested token"
    return ""
