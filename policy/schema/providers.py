"""providers.yaml: which token issuers are believed, and how their tokens are checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import Boolean, FileModel, Identifier, Integer
from policy.schema.events import Events
from policy.schema.introspection import Introspection
from policy.schema.revocation import Revocation
from policy.schema.signatures import Signer
from policy.schema.token_profiles import TokenProfile

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=500)]

KeyHost = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$", max_length=255)
]


class Dpop(FileModel):
    """How DPoP proofs are checked (RFC 9449) that come with this issuer's tokens."""

    algorithms: tuple[Algorithm, ...] = Field(
        ("ES256", "PS256", "EdDSA"), min_length=1, description="Signature algorithms of proofs; told in challenges."
    )
    past_seconds: Annotated[Integer, Field(ge=5, le=300)] = Field(60, description="Oldest `iat` of a proof.")
    future_seconds: Annotated[Integer, Field(ge=0, le=60)] = Field(
        10, description="How far ahead of ours a client's clock may be."
    )
    replay: Literal["checked", "unchecked"] = Field(
        "checked", description="checked: a proof passes one request, remembered in --store."
    )
    nonce: Literal["off", "required"] = Field(
        "off", description="required: a proof carries a nonce of ours, made with --dpop-nonce-key-file."
    )


class ClientCertificate(FileModel):
    """Where the client certificate of a certificate-bound token is known from (RFC 8705)."""

    source: Literal["connection", "trusted_hop"] = Field(
        "connection",
        description="connection: Envoy's own TLS connection; trusted_hop: x-forwarded-client-cert of one proxy.",
    )
    trusted_hop: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        None, description="First name (URI, else DNS) in the certificate with which that proxy connects to Envoy."
    )


class Provider(TokenProfile):
    """One token issuer."""

    id: Identifier
    issuer: HttpUrl = Field(description="Exact `iss`; compared as text (RFC 9068 section 4).")
    discovery: Literal["oidc", "oauth2", "none"] = Field(
        "oidc", description="Which well-known document names jwks_uri; none needs jwks_uri here."
    )
    jwks_uri: HttpUrl | None = None
    allow_http: Boolean = Field(
        False, description="Permit http:// for an issuer on loopback or *.localhost; development only."
    )
    allow_private_addresses: Boolean = Field(
        False, description="Permit an issuer whose name leads to a private network, such as one in the same cluster."
    )
    jwks_hosts: tuple[KeyHost, ...] = Field(
        (), max_length=10, description="Hosts besides the issuer's own where discovery may place jwks_uri."
    )
    verified_by: Literal["tollhouse", "envoy_jwt_authn"] = Field(
        "tollhouse", description="Who verifies signatures; envoy_jwt_authn: Envoy, and its metadata says what it saw."
    )
    payload_in_metadata: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = Field(
        None, description="envoy_jwt_authn: the key of that name in Envoy's file, of this issuer alone."
    )
    audiences: tuple[str, ...] = Field(min_length=1, description="A token must name one of these.")
    algorithms: tuple[Algorithm, ...] = Field(min_length=1, description="Signature algorithms accepted.")
    dpop: Dpop | None = Field(None, description="Without it, a token bound to a DPoP key is refused.")
    introspection: Introspection | None = Field(
        None, description="How this issuer is asked about tokens; without it, its tokens are JWTs and believed as such."
    )
    events: Events | None = Field(
        None, description="Without it, no logout and no security event of this issuer is taken."
    )
    leeway_seconds: Annotated[Integer, Field(ge=0, le=300)] = 30
    keys_max_age_seconds: Annotated[Integer, Field(ge=60, le=86400)] = 600
    keys_stale_seconds: Annotated[Integer, Field(ge=0, le=604800)] = Field(
        86400, description="How long the last good keys may be used while the issuer is away."
    )
    unknown_kid_cooldown_seconds: Annotated[Integer, Field(ge=1, le=3600)] = 30


class ProvidersFile(FileModel):
    """All token issuers; a token of any other is refused."""

    providers: tuple[Provider, ...] = Field(min_length=1, max_length=100)
    failed_authentications_per_minute: Annotated[Integer, Field(ge=1, le=100_000)] = Field(
        300, description="Refused tokens of one address, after which its next unknown token is not looked into."
    )
    client_certificate: ClientCertificate = ClientCertificate()
    revocation: Revocation | None = Field(None, description="Without it, a token is good until it expires.")
    signers: tuple[Signer, ...] = Field(
        (), max_length=1000, description="Keys of clients for operations with `message_signature`."
    )
