"""How a token check refuses: fixed texts outward, the rule's name for the operator alone.

The client learns the reason code and no more; telling which of many rules failed would help to
search for a token that passes.
"""

from __future__ import annotations

from extauthz.model import Challenge, Deny
from extauthz.reasons import Reason

_INVALID = Challenge("invalid_token", Reason.ACCESS_TOKEN_INVALID.spec.title)
_EXPIRED = Challenge("invalid_token", Reason.ACCESS_TOKEN_EXPIRED.spec.title)
_AUDIENCE = Challenge("invalid_token", Reason.ACCESS_TOKEN_AUDIENCE.spec.title)
_PRESENTATION = Challenge("invalid_request", Reason.ACCESS_TOKEN_PRESENTATION.spec.title)


def invalid(detail: str) -> Deny:
    """Refuse a token that is not valid; `detail` is a fixed text (RFC 6750 section 3.1, invalid_token)."""
    return Deny(Reason.ACCESS_TOKEN_INVALID, _INVALID, detail)


def expired() -> Deny:
    """Refuse a token whose `exp` has passed (RFC 6750 section 3.1, invalid_token)."""
    return Deny(Reason.ACCESS_TOKEN_EXPIRED, _EXPIRED, "exp has passed")


def wrong_audience() -> Deny:
    """Refuse a token for another audience (RFC 6750 section 3.1, invalid_token)."""
    return Deny(Reason.ACCESS_TOKEN_AUDIENCE, _AUDIENCE, "no configured audience in aud")


def presentation(detail: str) -> Deny:
    """Refuse a way of presenting a token (RFC 6750 section 3.1, invalid_request)."""
    return Deny(Reason.ACCESS_TOKEN_PRESENTATION, _PRESENTATION, detail)


def too_many(wait_seconds: int) -> Deny:
    """Refuse to look into a token of an address with too many failures (RFC 6585 section 4)."""
    return Deny(Reason.AUTHENTICATION_FAILURES, detail="too many failures", retry_after_seconds=wait_seconds)


def missing() -> Deny:
    """Refuse a request without credentials: a challenge without error code (RFC 6750 section 3.1)."""
    return Deny(Reason.ACCESS_TOKEN_MISSING, Challenge(), "no bearer credentials")


def revoked() -> Deny:
    """Refuse a token that was called back (RFC 6750 section 3.1, invalid_token: "revoked")."""
    return Deny(Reason.TOKEN_REVOKED, Challenge("invalid_token", Reason.TOKEN_REVOKED.spec.title), "on the list")


def unbound(detail: str) -> Deny:
    """Refuse a token whose binding is not confirmed (RFC 9449 section 7.1, RFC 8705 section 3: invalid_token)."""
    return Deny(Reason.TOKEN_BINDING, Challenge("invalid_token", Reason.TOKEN_BINDING.spec.title), detail)


def invalid_proof(detail: str) -> Deny:
    """Refuse a DPoP proof (RFC 9449 section 7.1, invalid_dpop_proof)."""
    return Deny(Reason.DPOP_PROOF, Challenge("invalid_dpop_proof", Reason.DPOP_PROOF.spec.title), detail)


def needs_nonce(nonce: str) -> Deny:
    """Ask for a proof with `nonce` in it (RFC 9449 section 9, use_dpop_nonce)."""
    challenge = Challenge("use_dpop_nonce", Reason.DPOP_NONCE.spec.title)
    return Deny(Reason.DPOP_NONCE, challenge, "no nonce that is in force", dpop_nonce=nonce)
