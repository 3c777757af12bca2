"""The claims of a JWT access token (RFC 9068 section 2.2), one function a rule.

A rule returns its refusal, or None. Only `read_verified` builds a `Principal`; the rules that
depend on the moment or on policy run again on every cache hit (`recheck`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from extauthz.model import Confirmation, Deny, Principal
from extauthz.tokens import refusals
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.token_shape import is_one_client

MAX_NAME_CHARACTERS = 512
"""Longest `sub`, `jti` and client id; they end up in records."""
MAX_AUDIENCES = 100
MAX_NUMERIC_DATE = 253_402_300_799
"""9999-12-31T23:59:59Z."""

_HASH = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
"""A SHA-256 as base64url without padding, in its one spelling."""
_CONFIRMATIONS = ("jkt", "x5t#S256")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What is known of a token once its signature and every claim were checked.

    Attributes:
        principal: The caller.
        not_before: `nbf`, seconds since 1970; minus infinity when absent.
        audiences: `aud`.
    """

    principal: Principal
    not_before: float
    audiences: frozenset[str]


def read_verified(
    claims: Mapping[str, Any], token_type: str, provider: CompiledProvider, now: float
) -> VerifiedToken | Deny:
    """Check every claim of a token whose signature is verified.

    Args:
        claims: The claims set.
        token_type: Header `typ`, lower case.
        provider: The rules, found by `iss`.
        now: Wall clock, seconds since 1970.
    """
    for rule in _RULES:
        refusal = rule(claims, provider)
        if refusal is not None:
            return refusal
    if not provider.shape.is_access_token(claims, token_type):
        return refusals.invalid("nothing marks it as an access token")
    token = _build(claims, provider)
    refusal = recheck(token, provider, now)
    if refusal is not None:
        return refusal
    return token if token.principal.issued_at <= now + provider.leeway_seconds else refusals.invalid("iat lies ahead")


def recheck(token: VerifiedToken, provider: CompiledProvider, now: float) -> Deny | None:
    """Check what time and policy can change: `exp`, `nbf` and `aud` (RFC 7519 sections 4.1.3 to 4.1.5)."""
    leeway = provider.leeway_seconds
    if now >= token.principal.expires_at + leeway:
        return refusals.expired()
    if now < token.not_before - leeway:
        return refusals.invalid("nbf lies ahead")
    return refusals.wrong_audience() if token.audiences.isdisjoint(provider.audiences) else None


def numeric_date(value: Any) -> float | None:
    """Read a NumericDate (RFC 7519 section 2): a number, fractions allowed; no text, no boolean, in range."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return float(value) if 0 <= value <= MAX_NUMERIC_DATE else None


def _check_issuer(claims: Mapping[str, Any], provider: CompiledProvider) -> Deny | None:
    """RFC 9068 section 4: `iss` equals the configured issuer exactly."""
    return None if claims.get("iss") == provider.issuer else refusals.invalid("iss is another issuer")


def _check_times(claims: Mapping[str, Any], provider: CompiledProvider) -> Deny | None:
    """RFC 9068 section 2.2: `exp` and `iat` are required; `nbf` is optional, and a date when present."""
    expires_at, issued_at = numeric_date(claims.get("exp")), numeric_date(claims.get("iat"))
    if expires_at is None or issued_at is None:
        return refusals.invalid("exp or iat is not a NumericDate")
    if "nbf" in claims and numeric_date(claims["nbf"]) is None:
        return refusals.invalid("nbf is not a NumericDate")
    if not 0 < expires_at - issued_at <= provider.max_lifetime_seconds:
        return refusals.invalid("lifetime not accepted")
    return None


def _check_audience(claims: Mapping[str, Any], _: CompiledProvider) -> Deny | None:
    """RFC 7519 section 4.1.3: a string, or an array of strings."""
    audience = claims.get("aud")
    if isinstance(audience, str):
        return None
    if not isinstance(audience, list) or len(audience) > MAX_AUDIENCES:
        return refusals.invalid("aud is neither text nor a list")
    return None if all(isinstance(name, str) for name in audience) else refusals.invalid("aud holds more than text")


def _check_names(claims: Mapping[str, Any], provider: CompiledProvider) -> Deny | None:
    """RFC 9068 section 2.2: `sub`, `client_id` and `jti` are required."""
    for claim in ("sub", provider.client_id_claim, "jti"):
        value = claims.get(claim)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARACTERS:
            return refusals.invalid("sub, client id or jti missing or not text")
    if not is_one_client(claims, provider.client_id_claim):
        return refusals.invalid("two claims name different clients")
    return None


def _check_scope(claims: Mapping[str, Any], provider: CompiledProvider) -> Deny | None:
    """RFC 8693 section 4.2 and RFC 6749 section 3.3, or what the provider's switches take instead."""
    return refusals.invalid("scope cannot be read") if provider.shape.scopes(claims) is None else None


def _check_binding(claims: Mapping[str, Any], _: CompiledProvider) -> Deny | None:
    """RFC 7800 section 3.1: unknown members do not count, but a `cnf` of them alone is a binding that nobody checks.

    A token that calls itself a DPoP token and names no key is not taken for a bearer token (RFC 9449 section 6).
    """
    if is_called_dpop(claims) and not (isinstance(claims.get("cnf"), dict) and "jkt" in claims["cnf"]):
        return refusals.invalid("a DPoP token that is bound to no key")
    if "cnf" not in claims:
        return None
    bound = claims["cnf"]
    hashes = [bound[name] for name in _CONFIRMATIONS if name in bound] if isinstance(bound, dict) else []
    is_readable = hashes and all(isinstance(text, str) and _HASH.match(text) for text in hashes)
    return None if is_readable else refusals.invalid("cnf is not one that can be checked")


def is_called_dpop(claims: Mapping[str, Any]) -> bool:
    """Tell whether the issuer calls it so: Keycloak in `typ`, introspection in `token_type` (RFC 7662 section 2.2)."""
    kinds = claims.get("typ"), claims.get("token_type")
    return any(isinstance(kind, str) and kind.casefold() == "dpop" for kind in kinds)


def _confirmation(claims: Mapping[str, Any]) -> Confirmation | None:
    bound = claims.get("cnf")
    return None if bound is None else Confirmation(bound.get("jkt"), bound.get("x5t#S256"))


_RULES: tuple[Callable[[Mapping[str, Any], CompiledProvider], Deny | None], ...] = (
    _check_issuer,
    _check_times,
    _check_audience,
    _check_names,
    _check_scope,
    _check_binding,
)


def _build(claims: Mapping[str, Any], provider: CompiledProvider) -> VerifiedToken:
    audience = claims["aud"]
    not_before = numeric_date(claims["nbf"]) if "nbf" in claims else None
    return VerifiedToken(
        principal=Principal(
            token_issuer=provider.issuer,
            subject=claims["sub"],
            client_id=claims[provider.client_id_claim],
            scopes=provider.shape.scopes(claims) or frozenset(),
            claims=MappingProxyType(dict(claims)),
            issued_at=float(claims["iat"]),
            expires_at=float(claims["exp"]),
            confirmation=_confirmation(claims),
        ),
        not_before=-math.inf if not_before is None else not_before,
        audiences=frozenset((audience,) if isinstance(audience, str) else audience),
    )
