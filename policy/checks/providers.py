"""providers.yaml: token issuers that can be believed."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from chassis.reach import AddressKind, Reach, kind_of, may_connect
from policy.checks.common import check_unique
from policy.checks.events import check_events
from policy.checks.token_profiles import check_token_profile
from policy.checks.verified_by import check_verified_by
from policy.names import PROVIDERS_FILE
from policy.parts import Parts
from policy.schema.providers import Provider, ProvidersFile

_LOOPBACK: Final = re.compile(r"(127(\.\d{1,3}){3}|::1|localhost|([a-z0-9-]+\.)+localhost)\Z")

_HINTS: Final = {
    AddressKind.PUBLIC: "",
    AddressKind.LOOPBACK: ", or in development from loopback with 'allow_http: true'",
    AddressKind.PRIVATE: ", or from a private network with 'allow_private_addresses: true'",
    AddressKind.REFUSED: ", or from loopback and private networks where the provider says so",
}


def check_providers(parts: Parts) -> None:
    """Add every problem of providers.yaml."""
    file = parts.find_sound(ProvidersFile)
    if file is None:
        return
    check_unique(parts, PROVIDERS_FILE, ("providers",), ("id", [provider.id for provider in file.providers]))
    check_unique(parts, PROVIDERS_FILE, ("providers",), ("issuer", [provider.issuer for provider in file.providers]))
    for index, provider in enumerate(file.providers):
        _check_provider(parts, index, provider)
    check_events(parts, file)
    check_verified_by(parts, file)


def _check_provider(parts: Parts, index: int, provider: Provider) -> None:
    path = ("providers", index)
    check_token_profile(parts, path, provider)
    _check_url(parts, (*path, "issuer"), provider.issuer, provider)
    if provider.jwks_uri is not None:
        _check_url(parts, (*path, "jwks_uri"), provider.jwks_uri, provider)
        if provider.discovery != "none":
            message = "jwks_uri goes with 'discovery: none'; otherwise the token issuer's own document names it"
            parts.add(PROVIDERS_FILE, (*path, "jwks_uri"), "P052", message)
    if provider.introspection is not None:
        _check_url(parts, (*path, "introspection", "endpoint"), provider.introspection.endpoint, provider)
    if provider.jwks_hosts and provider.discovery == "none":
        message = "jwks_hosts goes with discovery: it bounds where the token issuer's own document may lead"
        parts.add(PROVIDERS_FILE, (*path, "jwks_hosts"), "P052", message)
    if provider.jwks_uri is None and provider.discovery == "none":
        message = "without discovery, jwks_uri must say where the keys are"
        parts.add(PROVIDERS_FILE, (*path, "discovery"), "P052", message)
    for position, host in enumerate(provider.jwks_hosts):
        _check_url(parts, (*path, "jwks_hosts", position), f"https://{host}", provider)
    for position, audience in enumerate(provider.audiences):
        if not audience.strip():
            parts.add(PROVIDERS_FILE, (*path, "audiences", position), "P033", "an audience must not be empty")
    check_unique(parts, PROVIDERS_FILE, (*path, "audiences"), ("", provider.audiences))
    check_unique(parts, PROVIDERS_FILE, (*path, "jwks_hosts"), ("", provider.jwks_hosts))
    check_unique(parts, PROVIDERS_FILE, (*path, "algorithms"), ("", provider.algorithms))


def _check_url(parts: Parts, path: tuple[str | int, ...], url: str, provider: Provider) -> None:
    try:
        split = urlsplit(url)
        host, has_port = split.hostname or "", split.port != 0
    except ValueError:
        host, has_port = "", False
    if not host or not has_port:
        parts.add(PROVIDERS_FILE, path, "P050", "this is not a usable address")
    elif "@" in split.netloc:
        parts.add(PROVIDERS_FILE, path, "P050", "an address here must not hold a user name or password")
    elif path[-1] == "issuer" and (provider.discovery == "none" or provider.verified_by == "envoy_jwt_authn"):
        return  # a name that tokens carry; nothing is fetched from it
    elif split.scheme == "http" and not provider.allow_http:
        parts.add(PROVIDERS_FILE, path, "P051", "http:// lets anyone on the way forge keys; use https://")
    elif split.scheme == "http" and not _LOOPBACK.match(host):
        parts.add(PROVIDERS_FILE, path, "P051", "allow_http works for loopback and *.localhost only; use https://")
    elif (kind := kind_of(host)) and not may_connect(kind, _reach_of(provider), is_encrypted=split.scheme == "https"):
        message = f"this is a {kind.value} address" if kind.value != "refused" else "no token issuer may be here"
        parts.add(PROVIDERS_FILE, path, "P050", f"{message}; keys are fetched from the public internet{_HINTS[kind]}")


def _reach_of(provider: Provider) -> Reach:
    private = Reach.PRIVATE if provider.allow_private_addresses else Reach.PUBLIC
    return private | Reach.LOOPBACK if provider.allow_http else private
