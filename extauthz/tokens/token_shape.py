"""How one issuer writes its access tokens, where RFC 9068 leaves a choice or the issuer does not follow it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy.schema.token_profiles import TokenProfile

PROFILED_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""Header types that only access tokens carry (RFC 9068 section 2.1)."""
MAX_SCOPES = 1000

_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+\Z")
_FOREIGN_CLAIMS = ("nonce", "at_hash", "c_hash", "events", "token_introspection", "htm")
_ACCESS_TYPES = frozenset({"Bearer", "bearer", "DPoP"})


@dataclass(frozen=True, slots=True)
class TokenShape:
    """The switches of one provider.

    Attributes:
        payload_types: Values of the claim `typ` of which a token must have one whose header does not say what it
            is; empty where other claims may tell.
        scope_claim: The claim that holds the scopes.
        accepts_scope_list: Scopes may be a list.
    """

    payload_types: frozenset[str] = frozenset()
    scope_claim: str = "scope"
    accepts_scope_list: bool = False

    @classmethod
    def compile(cls, profile: TokenProfile) -> TokenShape:
        """Compile the switches of a provider."""
        return cls(frozenset(profile.payload_typ), profile.scope_claim, profile.accept_scope_list)

    def is_access_token(self, claims: Mapping[str, Any], token_type: str) -> bool:
        """Tell an access token from other tokens of its issuer (RFC 8725 section 3.11).

        Args:
            claims: The claims set.
            token_type: Header `typ`, lower case; alone enough where only access tokens have it.
        """
        if token_type in PROFILED_TYPES:
            return True
        said = claims.get("typ")
        if self.payload_types:
            return isinstance(said, str) and said in self.payload_types
        if "typ" in claims:
            return isinstance(said, str) and said in _ACCESS_TYPES
        # No ID token has a scope, and no access token what only ID tokens and event tokens have.
        return self.scope_claim in claims and not any(name in claims for name in _FOREIGN_CLAIMS)

    def scopes(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the scope names, or None where they cannot be read (RFC 8693 section 4.2, RFC 6749 section 3.3)."""
        value = claims.get(self.scope_claim, "")
        if isinstance(value, str):
            names = [name for name in value.split(" ") if name]
        elif isinstance(value, list) and self.accepts_scope_list and len(value) <= MAX_SCOPES:
            names = value
        else:
            return None
        return frozenset(names) if all(isinstance(name, str) and _SCOPE.match(name) for name in names) else None


RFC_9068 = TokenShape()


def is_one_client(claims: Mapping[str, Any], client_id_claim: str) -> bool:
    """Tell whether the claim that names the client and `client_id`, where both are there, name the same."""
    return "client_id" not in claims or claims["client_id"] == claims.get(client_id_claim)
