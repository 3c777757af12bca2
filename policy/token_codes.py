"""Diagnostic codes of token profiles; `codes` puts them beside the others."""

from __future__ import annotations

from typing import Final

from policy.code_spec import CodeSpec

TOKENS: Final = {
    "P064": CodeSpec(
        "a token profile that asks less than RFC 9068 (warning)",
        "`profile: keycloak`, `typ: [JWT]`, `client_id_claim: azp`, `accept_scope_list: true`",
        "an issuer set up for RFC 9068 (`typ: at+jwt`, `client_id`); else the switch, and this warning as its price",
        "Where a header does not say what a token is for, an ID or refresh token is told from it by its claims alone.",
    ),
    "P095": CodeSpec(
        "revoked tokens are refused and there is no store",
        "`revocation` in providers.yaml, and extauthz started without `--store`",
        "`--store rediss://...`, the same for all replicas",
        "The store is where each replica learns which tokens were revoked; without it none ever would be.",
    ),
    "P096": CodeSpec(
        "events of an issuer are taken and revoked tokens are not refused",
        "`events` at a provider, and no `revocation` in providers.yaml",
        "`revocation: {}` beside it",
        "The issuer would hear that its logout is in force, and the tokens would pay on.",
    ),
    "P097": CodeSpec(
        "a logout that may end nothing (warning)",
        "`logout_ends: sid` for an issuer whose access tokens carry no `sid`",
        "`logout_ends: both`; `sid` where the issuer is known to write it into access tokens",
        "A logout may name a session alone, and a token that does not name its session is not hit.",
    ),
    "P139": CodeSpec(
        "a provider that Envoy verifies, and what does not go with it",
        "`verified_by: envoy_jwt_authn` without `payload_in_metadata`, with `jwks_uri`, or with another's key",
        "`verified_by: envoy_jwt_authn` and a `payload_in_metadata` of its own, as in the Envoy file",
        "Claims count there because only Envoy can write under that key; `tollhouse envoy check` looks at its file.",
    ),
}
"""By code."""
