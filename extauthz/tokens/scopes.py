"""Scopes of an operation against those of a token (step 4, authorize)."""

from __future__ import annotations

from extauthz.model import Challenge, Deny, Principal
from extauthz.reasons import Reason


def require_scopes(principal: Principal, scopes: tuple[str, ...]) -> Deny | None:
    """Refuse a token that lacks one of `scopes`; names are compared exactly (RFC 6749 section 3.3).

    The challenge names all required scopes, not the missing ones (RFC 6750 section 3).
    """
    if principal.scopes.issuperset(scopes):
        return None
    title = Reason.SCOPE_INSUFFICIENT.spec.title
    return Deny(Reason.SCOPE_INSUFFICIENT, Challenge("insufficient_scope", title, " ".join(scopes)), "scope missing")
