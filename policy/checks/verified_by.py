"""providers.yaml: whose tokens Envoy verifies, and what then has no meaning."""

from __future__ import annotations

from typing import Final

from policy.names import PROVIDERS_FILE
from policy.parts import Parts
from policy.schema.providers import Provider, ProvidersFile

_OF_KEYS: Final = (
    "discovery",
    "jwks_uri",
    "jwks_hosts",
    "keys_max_age_seconds",
    "keys_stale_seconds",
    "unknown_kid_cooldown_seconds",
)


def check_verified_by(parts: Parts, file: ProvidersFile) -> None:
    """Add every problem of providers whose tokens Envoy verifies."""
    known: set[str] = set()
    for index, provider in enumerate(file.providers):
        path = ("providers", index)
        key = provider.payload_in_metadata
        if provider.verified_by == "tollhouse":
            if key is not None:
                message = "without 'verified_by: envoy_jwt_authn' nothing is read there; signatures are verified here"
                parts.add(PROVIDERS_FILE, (*path, "payload_in_metadata"), "P139", message)
            continue
        _check_vouched(parts, index, provider)
        if key is None:
            message = "payload_in_metadata must say under which key Envoy writes this issuer's claims"
            parts.add(PROVIDERS_FILE, (*path, "verified_by"), "P139", message)
        elif key in known:
            message = "another provider's claims are under this key; one issuer could speak for the other"
            parts.add(PROVIDERS_FILE, (*path, "payload_in_metadata"), "P139", message)
        else:
            known.add(key)


def _check_vouched(parts: Parts, index: int, provider: Provider) -> None:
    path = ("providers", index)
    for name in _OF_KEYS:
        if name in provider.model_fields_set:
            message = f"Envoy has this issuer's keys; {name} would have no effect"
            parts.add(PROVIDERS_FILE, (*path, name), "P139", message)
    if provider.events is not None:
        message = "events are signed, and the keys of this issuer are Envoy's alone; use 'tollhouse revoke'"
        parts.add(PROVIDERS_FILE, (*path, "events"), "P139", message)
    asked = provider.introspection
    if asked is not None and (asked.opaque_tokens or asked.reply == "jwt"):
        message = "Envoy lets no opaque token pass, and signed replies need keys that are Envoy's alone"
        parts.add(PROVIDERS_FILE, (*path, "introspection"), "P139", message)
