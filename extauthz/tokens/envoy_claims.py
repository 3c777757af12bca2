"""Tokens that Envoy's jwt_authn filter verified: which claims count, and that they are those of the token that came.

Called by the gate in the place of a signature check. Its law: only what Envoy wrote under the provider's own key
counts, and only for the very token that the request presents; nothing there is a token that nobody verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extauthz.model import AuthzRequest, Deny
from extauthz.tokens import refusals


def vouched_claims(request: AuthzRequest, payload_key: str, presented: Mapping[str, Any]) -> Mapping[str, Any] | Deny:
    """Return the claims that Envoy verified.

    Args:
        request: What Envoy sent.
        payload_key: `payload_in_metadata` of the provider.
        presented: Claims of the presented token, read from its text and not verified; numbers compare by value.
    """
    verified = request.envoy_claims.get(payload_key)
    if verified is None:
        return refusals.invalid("Envoy did not verify this token, or its claims cannot be read without loss")
    return verified if verified == presented else refusals.invalid("Envoy verified another token")
