"""providers.yaml: what the profile of an issuer's tokens gives up, in words for those who chose it."""

from __future__ import annotations

from typing import Final

from policy.names import PROVIDERS_FILE
from policy.parts import Parts
from policy.positions import Path
from policy.schema.providers import Provider
from policy.schema.token_profiles import PROFILES

_PROFILED: Final = frozenset({"at+jwt", "application/at+jwt"})
_NEVER_ACCESS: Final = frozenset({"id", "refresh", "offline", "logout"})
_EVENT_TYPES: Final = frozenset({"logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "id_token+jwt"})


def check_token_profile(parts: Parts, path: Path, provider: Provider) -> None:
    """Add what one provider's token profile gets wrong, and a warning for all it asks less than RFC 9068."""
    _check_words(parts, path, provider)
    preset = PROFILES[provider.profile]
    if provider.profile == "keycloak":
        message = "tokens are told from ID tokens by the claim 'typ', and the client by 'azp', not as RFC 9068 says"
        _warn(parts, (*path, "profile"), message)
    if provider.typ != preset["typ"] and not _PROFILED.issuperset(name.lower() for name in provider.typ):
        message = "ID tokens have this header too; without payload_typ only other claims tell them apart"
        if not provider.payload_typ:
            _warn(parts, (*path, "typ"), message)
        elif provider.profile == "rfc9068":
            _warn(parts, (*path, "typ"), "ID tokens have this header too; the claim 'typ' alone tells them apart")
    if provider.client_id_claim not in ("client_id", preset["client_id_claim"]):
        _warn(parts, (*path, "client_id_claim"), "RFC 9068 names the client in client_id")
    if provider.scope_claim != "scope":
        _warn(parts, (*path, "scope_claim"), "RFC 9068 has scopes in scope; a claim scope of these tokens counts not")
    if provider.accept_scope_list:
        _warn(parts, (*path, "accept_scope_list"), "RFC 8693 has scope as one text; a list is read as well")


def _check_words(parts: Parts, path: Path, provider: Provider) -> None:
    for position, name in enumerate(provider.typ):
        if name.lower() in _EVENT_TYPES:
            parts.add(PROVIDERS_FILE, (*path, "typ", position), "P033", "no access token has this type")
    for position, name in enumerate(provider.payload_typ):
        if name.lower() in _NEVER_ACCESS or not name:
            parts.add(PROVIDERS_FILE, (*path, "payload_typ", position), "P033", "no access token has this type")


def _warn(parts: Parts, path: Path, message: str) -> None:
    parts.add(PROVIDERS_FILE, path, "P064", message, "warning")
