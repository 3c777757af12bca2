"""What a token issuer's access tokens look like: RFC 9068, or what a widely used issuer really sends.

A profile is a set of defaults; each key can still be set by itself. `tollhouse check` warns of every one that asks
less than RFC 9068 does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from policy.schema.base import Boolean, FileModel, Integer

ClaimName = Annotated[str, StringConstraints(min_length=1, max_length=100)]

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "rfc9068": {"typ": ("at+jwt", "application/at+jwt"), "payload_typ": (), "client_id_claim": "client_id"},
        # Keycloak writes `typ: JWT` over access, ID and refresh tokens alike; its claim `typ` tells them apart. Only
        # tokens of service accounts hold `client_id`; `azp` is in all of them.
        "keycloak": {
            "typ": ("JWT", "at+jwt", "application/at+jwt"),
            "payload_typ": ("Bearer", "DPoP"),
            "client_id_claim": "azp",
        },
    }
)
"""Profile name to what its keys mean when they are not set."""


class TokenProfile(FileModel):
    """The part of a provider that says how its access tokens are read."""

    profile: Literal["rfc9068", "keycloak"] = Field(
        "rfc9068", description="Defaults of typ, payload_typ and client_id_claim."
    )
    typ: tuple[str, ...] = Field(
        ("at+jwt", "application/at+jwt"), min_length=1, description="Header `typ`, any letter case."
    )
    payload_typ: tuple[str, ...] = Field(
        (),
        max_length=10,
        description="Values of the claim `typ`, one of which a token must have whose header `typ` is not at+jwt.",
    )
    client_id_claim: ClaimName = Field("client_id", description="Claim that names the OAuth client.")
    scope_claim: Literal["scope", "scp"] = Field("scope", description="Claim that holds the scopes.")
    accept_scope_list: Boolean = Field(False, description="Scopes may also be a list of names.")
    max_lifetime_seconds: Annotated[Integer, Field(ge=60, le=86_400)] = Field(
        86_400, description="Longest `exp` - `iat`; a token cannot be called back while it lives."
    )

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_of_the_profile(cls, values: Any) -> Any:
        name = values.get("profile", "rfc9068") if isinstance(values, dict) else None
        presets = PROFILES.get(name) if isinstance(name, str) else None
        return {**presets, **values} if presets else values
