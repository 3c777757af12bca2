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


def missing() -> Deny:
    """Refuse a request without credentials: a challenge without error code (RFC 6750 section 3.1)."""
    return Deny(Reason.ACCESS_TOKEN_MISSING, Challenge(), "no bearer credentials")
