"""What in an Envoy configuration makes `verified_by: envoy_jwt_authn` in providers.yaml unsafe or useless.

Its law: the claims under a provider's key must be those of a token that Envoy verified for that issuer, taken from
the Authorization header; whatever else could write there is a finding.
Proto: envoy/extensions/filters/http/jwt_authn/v3/config.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from policy.schema.providers import Provider
from tollhouse.envoy_tree import EXT_AUTHZ, Chain, as_list, as_mapping, find, gates, kind_of

NAMESPACE: Final = "envoy.filters.http.jwt_authn"
_JWT: Final = "filters.http.jwt_authn.v3.JwtAuthentication"
_READERS: Final = ("filters.http.ratelimit.v3.RateLimit", "filters.http.rbac.v3.RBAC")
_CODE: Final = (".lua.v3.", ".wasm.v3.", ".golang.v3alpha.", ".dynamic_modules.v3.", ".TypedStruct")
"""In the names of filters that run code, which may write anywhere; of the last one no member is known here."""
_UNVERIFIED: Final = ("extract_only_without_validation", "allow_missing_or_failed", "allow_missing")
_PREFIXES: Final = frozenset({"Bearer ", "DPoP "})
_OTHER_PLACES: Final = ("from_params", "from_cookies")
_COOKIE_MARK: Final = "x-tollhouse-cookie"
_CHANGED_CLAIMS: Final = "normalize_payload_in_metadata"


def check_envoy(document: dict[str, Any], providers: tuple[Provider, ...]) -> list[str]:
    """Return every finding, each a sentence; none when the file is safe for these providers.

    Args:
        document: From `read_envoy_file`.
        providers: All of providers.yaml.
    """
    vouched = [provider for provider in providers if provider.verified_by == "envoy_jwt_authn"]
    if not vouched:
        return []
    chains = gates(document)
    if not chains:
        return ["no listener of this file has the filter ext_authz"]
    return [f"{chain.place}: {finding}" for chain in chains for finding in _check_chain(chain, vouched)]


def check_cookies(document: dict[str, Any]) -> list[str]:
    """Return every chain where operations with `cookies: refuse` would not hear of cookies; see `check_envoy`."""
    return [
        f"{chain.place}: ext_authz may get no cookie, and no header {_COOKIE_MARK} is set where one comes: see"
        " early_header_mutation_extensions in envoy/tollhouse.yaml"
        for chain in gates(document)
        if not _are_cookies_told(chain)
    ]


def _are_cookies_told(chain: Chain) -> bool:
    mutations = chain.manager.get("early_header_mutation_extensions")
    if next(find(mutations, lambda value: value.get("key") == _COOKIE_MARK), None) is not None:
        return True
    filters = [config for _, _, config in chain.of(EXT_AUTHZ)]
    return not any(name in config for config in filters for name in ("allowed_headers", "disallowed_headers"))


def _check_chain(chain: Chain, vouched: list[Provider]) -> Iterator[str]:
    first = chain.of(EXT_AUTHZ)[0][0]
    found = chain.of(_JWT)
    if len(found) != 1:
        yield "the filter jwt_authn must stand there exactly once, written out"
        return
    ((at, entry, config),) = found
    if at > first:
        yield "jwt_authn stands behind ext_authz, which then sees no claims"
    if entry.get("disabled") or entry.get("is_optional"):
        yield "jwt_authn is disabled or optional"
    for _, _, service in chain.of(EXT_AUTHZ):
        if NAMESPACE not in as_list(service.get("metadata_context_namespaces")):
            yield f"ext_authz needs metadata_context_namespaces: [{NAMESPACE}]"
    members = {name for value in find(config, lambda _: True) for name in value}
    yield from (f"{name} lets tokens pass that nobody verified" for name in _UNVERIFIED if name in members)
    yield from _other_writers(chain)
    yield from _check_routes(chain.manager)
    for provider in vouched:
        yield from _check_provider(provider, as_mapping(config.get("providers")), config)


def _other_writers(chain: Chain) -> Iterator[str]:
    last = chain.of(EXT_AUTHZ)[-1][0]
    for at, (kind, entry, config) in enumerate(chain.filters):
        if kind.endswith((_JWT, EXT_AUTHZ, *_READERS)):
            continue
        if at < last and next(find(config, _runs_code), None) is not None:
            yield f"filter {entry.get('name')!r} runs code before ext_authz, which may write claims too"
        if not kind or "config_discovery" in entry:
            yield f"filter {entry.get('name')!r} is not written out in this file, so nobody sees what it does"
        elif _names_namespace(config) or next(find(config, _is_jwt), None) is not None:
            yield f"filter {entry.get('name')!r} names {NAMESPACE}: nothing but jwt_authn may write there"


def _names_namespace(value: Any) -> bool:
    """Tell whether the namespace stands in any text: as a value, in a list, as a member's name, in code."""
    if isinstance(value, dict):
        return any(_names_namespace(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_names_namespace(item) for item in value)
    return isinstance(value, str) and NAMESPACE in value


def _runs_code(value: dict[str, Any]) -> bool:
    return any(part in kind_of(value) for part in _CODE)


def _is_jwt(value: dict[str, Any]) -> bool:
    return kind_of(value).endswith(_JWT)


def _check_routes(manager: dict[str, Any]) -> Iterator[str]:
    if "rds" in manager or "scoped_routes" in manager:
        yield "routes come from elsewhere, so nobody sees whether one of them takes jwt_authn off"
    for holder in find(manager.get("route_config"), lambda value: "typed_per_filter_config" in value):
        configs = as_mapping(holder["typed_per_filter_config"])
        is_off = {name: as_mapping(config).get("disabled") is True for name, config in configs.items()}
        if any(off and "jwt_authn" in name for name, off in is_off.items()) and not any(
            off and "ext_authz" in name for name, off in is_off.items()
        ):
            yield "a route takes jwt_authn off and keeps ext_authz, which then refuses everything there"


def _check_provider(provider: Provider, configured: dict[str, Any], config: dict[str, Any]) -> Iterator[str]:
    key = provider.payload_in_metadata
    configs = {name: as_mapping(one) for name, one in configured.items()}
    mine = {name: one for name, one in configs.items() if one.get("issuer") == provider.issuer}
    for name, other in configured.items():
        written = {as_mapping(other).get("payload_in_metadata"), as_mapping(other).get("header_in_metadata")}
        written.add(as_mapping(other).get("failed_status_in_metadata"))
        if name not in mine and key in written:
            yield f"provider {name!r} has another issuer than {provider.id!r} and writes under its key {key!r}"
    if len(mine) != 1:
        yield f"jwt_authn must have one provider with the issuer of {provider.id!r}, and has {len(mine)}"
        return
    ((name, found),) = mine.items()
    yield from (f"provider {name!r}: {finding}" for finding in _check_values(provider, found))
    is_required = any(name in value.values() for value in find(config, lambda value: "provider_name" in value) if name)
    if not is_required:
        yield f"no rule requires provider {name!r}, so none of its tokens is verified"


def _check_values(provider: Provider, found: dict[str, Any]) -> Iterator[str]:
    key = provider.payload_in_metadata
    if found.get("payload_in_metadata") != key:
        yield f"payload_in_metadata must be {key!r}, as in providers.yaml"
    if key in (found.get("header_in_metadata"), found.get("failed_status_in_metadata")):
        yield "something else than the payload is written under the same key"
    if sorted(map(str, as_list(found.get("audiences")))) != sorted(provider.audiences):
        yield "audiences must be those of providers.yaml"
    if found.get("forward") is not True:
        yield "forward: true is needed: extauthz compares the token with the claims, and binds DPoP proofs to its text"
    headers = [as_mapping(header) for header in as_list(found.get("from_headers"))]
    places = [(str(header.get("name")).lower(), header.get("value_prefix")) for header in headers]
    if not places or any(name != "authorization" or prefix not in _PREFIXES for name, prefix in places):
        yield "from_headers must name Authorization with 'Bearer ' or 'DPoP ', and no other place"
    if provider.dpop is not None and ("authorization", "DPoP ") not in places:
        yield "from_headers must name Authorization with 'DPoP ' too: this issuer's tokens are bound to DPoP keys"
    for name in _OTHER_PLACES:
        if found.get(name):
            yield f"{name} takes tokens from where extauthz refuses them"
    if found.get(_CHANGED_CLAIMS):
        yield f"{_CHANGED_CLAIMS} changes claims, which then differ from the token's"
