"""What the development token issuer remembers of its tokens, and its introspection endpoint; Authlib does RFC 7662."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from chassis.clock import Clock

GATE_CLIENT: Final = "payment-gate"
"""The one client that may ask about tokens; it gets none itself."""
_MAX_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """One token.

    Attributes:
        claims: What it stands for.
        now: When it is asked about, seconds since 1970.
    """

    claims: Mapping[str, Any]
    now: float

    def is_expired(self) -> bool:
        """Tell whether its time is over."""
        return bool(self.now >= self.claims["exp"])

    def is_revoked(self) -> bool:
        """Nothing is revoked here: a token that was called back is forgotten."""
        return False


class IssuedTokens:
    """The last 10,000 tokens, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def keep(self, text: str, claims: Mapping[str, Any]) -> None:
        """Remember a token."""
        self._tokens[text] = claims
        if len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)

    def forget(self, text: str) -> None:
        """Call a token back: introspection knows nothing of it any more."""
        self._tokens.pop(text, None)

    def find(self, text: str) -> IssuedToken | None:
        """Return what is known of a token."""
        claims = self._tokens.get(text)
        return None if claims is None else IssuedToken(claims, self._clock.wall())


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # Authlib has no types
    """Answers the payment gate about the tokens that were issued."""

    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012 - Authlib's name and type

    def __init__(self, issued: IssuedTokens) -> None:
        super().__init__()
        self._issued = issued

    def query_token(self, text: str, _hint: str | None) -> IssuedToken | None:
        """Return the token, if it was issued here."""
        return self._issued.find(text)

    def check_permission(self, _token: IssuedToken, client: Any, _request: object) -> bool:
        """Let the gate alone know anything: to others every token is inactive."""
        return bool(client.get_client_id() == GATE_CLIENT)

    def introspect_token(self, token: IssuedToken) -> dict[str, Any]:
        """Return everything that the token says (RFC 7662 section 2.2)."""
        return {**token.claims, "active": True, "token_type": "Bearer"}
