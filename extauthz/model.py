"""The values that travel along the straight line; no protobuf, no policy, no I/O.

A decision is `Allow | Deny | Unavailable`: three classes without a default and without truth
value, so that nothing missing can ever read as yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from chassis.no_truth import NoTruth
from extauthz.reasons import Reason

_NO_ENTRIES: Final[Mapping[str, Any]] = MappingProxyType({})


class AuthzRequest(NamedTuple):
    """One HTTP request as Envoy described it (envoy/service/auth/v3/attribute_context.proto).

    A tuple, since one is made for every request: a frozen dataclass of this many fields costs a microsecond more.

    Attributes:
        method: HTTP method as sent.
        scheme: `http` or `https`.
        host: `:authority` as sent, port included.
        path: Raw `:path` with query, not decoded.
        headers: Lower-case names; repeated headers are joined with a comma, as Envoy does in
            the `headers` map, so that both encodings lead to one verdict.
        body: The buffered body; empty when Envoy sent none.
        body_is_partial: Envoy cut the body off, so its end was not seen.
        peer_ip: Address of the direct downstream, no port; empty when unknown.
        time: When Envoy saw the first byte, seconds since 1970; 0.0 when absent.
        request_id: Envoy's `x-request-id`, or empty.
        context_extensions: Static strings from Envoy's route configuration.
        stream_id: Envoy's own random number for this request, not the client's to choose; empty when absent.
        peer_port: Port of the direct downstream; 0 when unknown.
        peer_principal: First name in the certificate of the direct downstream, as Envoy verified it; empty without one.
        peer_certificate: That certificate as URL-encoded PEM; empty without one.
        envoy_claims: By the key of Envoy's own configuration, the claims that its jwt_authn filter verified; no header
            can write there. Empty where policy does not look there.
    """

    method: str
    scheme: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    body_is_partial: bool
    peer_ip: str
    time: float
    request_id: str
    context_extensions: Mapping[str, str] = _NO_ENTRIES
    stream_id: str = ""
    peer_port: int = 0
    peer_principal: str = ""
    peer_certificate: str = ""
    envoy_claims: Mapping[str, Mapping[str, Any]] = _NO_ENTRIES


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a token is bound to (`cnf`, RFC 7800); at least one of the two is there.

    Attributes:
        jkt: RFC 7638 SHA-256 thumbprint of the client's DPoP key, base64url (RFC 9449 section 6.1).
        certificate: SHA-256 of the client's certificate, base64url (`x5t#S256`, RFC 8705 section 3.1).
    """

    jkt: str | None = None
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose access token was verified.

    Attributes:
        token_issuer: `iss`.
        subject: `sub`.
        client_id: The OAuth client (`client_id`, or the claim the provider names instead).
        scopes: Exact scope names.
        claims: All verified claims, read-only.
        issued_at: `iat`, seconds since 1970.
        expires_at: `exp`, seconds since 1970.
        confirmation: What the token is bound to; None for a plain bearer token.
        next_nonce: A DPoP nonce that the client shall use from now on; empty for none.
        acr: How the user authenticated (RFC 9470), as the token says; empty where it does not, or not as text.
        actor: The outermost actor's `sub` (RFC 8693 section 4.1); empty where nobody is named as text.
    """

    token_issuer: str
    subject: str
    client_id: str
    scopes: frozenset[str]
    claims: Mapping[str, Any]
    issued_at: float
    expires_at: float
    confirmation: Confirmation | None = None
    next_nonce: str = ""
    acr: str = field(init=False)
    actor: str = field(init=False)

    def __post_init__(self) -> None:
        """Read what every request of the token asks for, once a token."""
        acr, act = self.claims.get("acr"), self.claims.get("act")
        name = act.get("sub") if isinstance(act, Mapping) else None
        object.__setattr__(self, "acr", acr if isinstance(acr, str) else "")
        object.__setattr__(self, "actor", name if isinstance(name, str) else "")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What goes into `WWW-Authenticate` beside the realm (RFC 6750 section 3).

    Attributes:
        error: `invalid_request`, `invalid_token`, `insufficient_scope`, or None when the request
            carried no credentials (RFC 6750 section 3.1).
        description: Fixed text, never claim values.
        scope: Required scopes for `insufficient_scope`, space separated.
        acr_values: Accepted authentication contexts, space separated (RFC 9470 section 3).
        max_age: Most seconds since the user authenticated (RFC 9470 section 3).
    """

    error: str | None = None
    description: str | None = None
    scope: str | None = None
    acr_values: str | None = None
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Allow(NoTruth):
    """Let the request go upstream. Constructed at exactly one place, the end of `pipeline.decide`.

    Attributes:
        handoff: Values of `policy.handoff.METADATA_ENTRIES` but decision_id and policy_revision.
        forward_token: Keep `authorization` for the upstream.
        is_review: A rule asked for review; told to the upstream in a header and in metadata.
        dpop_nonce: Told to the client in `DPoP-Nonce` (RFC 9449 section 8.2); empty for none.
        would_deny: A rule in shadow would have declined; told in metadata, so that access logs can count it.
    """

    handoff: Mapping[str, str]
    forward_token: bool
    is_review: bool = False
    dpop_nonce: str = ""
    would_deny: bool = False


@dataclass(frozen=True, slots=True)
class Deny(NoTruth):
    """Refuse the request.

    Attributes:
        reason: Public reason code; fixes the HTTP status.
        challenge: Present on every 401, and on 403 insufficient_scope.
        detail: For the operator's log only.
        retry_after_seconds: For reasons that waiting cures.
        dpop_nonce: Told to the client in `DPoP-Nonce` (RFC 9449 section 9); empty for none.
        headers: Further headers for the client.
    """

    reason: Reason
    challenge: Challenge | None = None
    detail: str = ""
    retry_after_seconds: int | None = None
    dpop_nonce: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unavailable(NoTruth):
    """No verdict: something of ours is away, late or broken. Rendered as 503, never as allow.

    Attributes:
        reason: Public reason code with status 503.
        detail: For the operator's log only.
        retry_after_seconds: Told to the client.
    """

    reason: Reason
    detail: str = ""
    retry_after_seconds: int = 1


Decision = Allow | Deny | Unavailable
