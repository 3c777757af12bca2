"""HTTP message signatures (RFC 9421): who signs, in providers.yaml, and what must be signed, in routes.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import FileModel, Integer, Text

SignatureAlgorithm = Literal["ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512", "rsa-v1_5-sha256"]
"""Of the registry in RFC 9421 section 6.2.2; its HMAC is left out, for whoever checks it can sign."""

KeyText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,1400}$")]
QuotableText = Annotated[str, StringConstraints(pattern=r"^[\x20\x21\x23-\x5B\x5D-\x7E]{1,128}$")]
"""What stands in a quoted string as it is (RFC 9651 section 3.3.3)."""
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.*-]{0,63}$")]
Component = Annotated[
    str,
    StringConstraints(pattern=r"^(@method|@target-uri|@authority|@scheme|@path|@query|[a-z0-9!#$%&'*+.^_`|~-]{1,64})$"),
]

MAX_AGE_SECONDS = 60
"""Oldest `created` that an operation may take."""
DEFAULT_COMPONENTS = ("@method", "@target-uri", "authorization", "content-digest")


class PublicJwk(FileModel):
    """A public key (RFC 7517); a private member is an unknown key here."""

    kty: Literal["EC", "OKP", "RSA"]
    crv: Literal["P-256", "Ed25519"] | None = None
    x: KeyText | None = None
    y: KeyText | None = None
    n: KeyText | None = None
    e: KeyText | None = None


class Signer(FileModel):
    """One key that signs requests, and the client whose key it is."""

    keyid: QuotableText = Field(description="As in the signature's `keyid`; one signer alone has it.")
    issuer: Text = Field(description="`iss` of the client's tokens; a provider of this file.")
    client_id: Text = Field(description="The client as its tokens name it; tokens of others are refused.")
    algorithm: SignatureAlgorithm = Field(description="The only one; a signature that names another is refused.")
    key: PublicJwk


class MessageSignature(FileModel):
    """What a signature must cover and how old it may be (RFC 9421 section 3.2.1)."""

    components: tuple[Component, ...] = Field(
        DEFAULT_COMPONENTS, min_length=1, max_length=20, description="Must be covered; more may be."
    )
    max_age_seconds: Annotated[Integer, Field(ge=5, le=MAX_AGE_SECONDS)] = Field(
        MAX_AGE_SECONDS, description="Oldest `created`."
    )
    tag: QuotableText | None = Field(None, description="Which signature counts, by its `tag`, which it covers itself.")
    label: Label | None = Field(None, description="Which signature counts, by its label; without both, there is one.")
