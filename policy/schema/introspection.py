"""The part of providers.yaml that says how an issuer is asked whether a token is still good (RFC 7662)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import AmountMinor, Boolean, CurrencyCode, FileModel, Integer, Text

EndpointUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=500)]
TokenPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~+/-]{1,64}$")]


class Introspection(FileModel):
    """How the issuer is asked, and who we are to it."""

    endpoint: EndpointUrl
    client_id: Text = Field(description="Our name at the issuer, as it registered this gate.")
    authentication: Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"] = Field(
        description="How we prove it; secret, key or certificate stand in --client-credentials-dir."
    )
    reply: Literal["json", "jwt"] = Field("json", description="jwt: a signed reply is demanded (RFC 9701).")
    opaque_tokens: Boolean = Field(
        False, description="This issuer's tokens may be no JWT: whatever is none is asked about here."
    )
    token_prefix: TokenPrefix | None = Field(
        None, description="What its opaque tokens begin with; tells issuers with opaque tokens apart."
    )
    cache_seconds: Annotated[Integer, Field(ge=0, le=300)] = Field(
        10, description="How long an opaque token is believed without asking again: a revocation takes that long."
    )
    timeout_ms: Annotated[Integer, Field(ge=20, le=2000)] = Field(
        250, description="Longest wait for the issuer; the gate's own deadline goes before."
    )


class AskIssuer(FileModel):
    """Which requests of an operation need the issuer's word of now, whatever the token says (RFC 7662 section 4)."""

    when: Literal["always", "above"]
    amount: AmountMinor | None = Field(None, description="above: payments of more minor units than this.")
    currency: CurrencyCode | None = Field(None, description="above: of `amount`; any other currency is asked about.")
