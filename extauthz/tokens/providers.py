"""providers.yaml, compiled: what the token checks ask of one token issuer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from chassis.reach import Reach, is_loopback_host, kind_of, may_connect
from extauthz.tokens.token_shape import RFC_9068, TokenShape
from extauthz.tokens.verify import canonical_algorithm
from policy.schema.providers import Dpop, Provider, ProvidersFile

MAX_LIFETIME_SECONDS = 86_400
"""Longest `exp` - `iat`: an access token that lives longer cannot be called back (FAPI 2.0, access token lifetimes)."""

Authority = tuple[str, int]
"""Host, lower case, and port."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an issuer's keys come from; what a running key set is known by.

    Attributes:
        issuer: Exact `iss`.
        discovery: `oidc`, `oauth2` or `none`.
        jwks_uri: Set when discovery is `none`, else overrides what discovery says when set.
        reach: Which addresses besides those of the public internet may be asked.
        hosts: Where discovery may place the keys: the issuer's own host and port, and those that the policy names.
    """

    issuer: str
    discovery: str
    jwks_uri: str | None
    reach: Reach
    hosts: frozenset[Authority]


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """How long keys live, in seconds.

    Attributes:
        max_age: Longest time between refreshes.
        stale: How much longer the last good keys serve while the issuer is away.
        unknown_kid_cooldown: Shortest time between two refreshes that tokens with unknown kids cause.
    """

    max_age: float
    stale: float
    unknown_kid_cooldown: float


@dataclass(frozen=True, slots=True)
class DpopPolicy:
    """What is asked of DPoP proofs for one issuer's tokens (RFC 9449).

    Attributes:
        algorithms: Accepted `alg`, canonical names.
        past_seconds: Oldest proof.
        future_seconds: How far ahead a client's clock may be.
        is_replay_checked: A proof passes one request.
        needs_nonce: A proof must carry a nonce of ours.
    """

    algorithms: frozenset[str]
    past_seconds: float
    future_seconds: float
    is_replay_checked: bool
    needs_nonce: bool

    @classmethod
    def compile(cls, policy: Dpop | None) -> DpopPolicy | None:
        """Compile the part of a provider, if it has one."""
        if policy is None:
            return None
        return cls(
            algorithms=frozenset(canonical_algorithm(name) for name in policy.algorithms),
            past_seconds=policy.past_seconds,
            future_seconds=policy.future_seconds,
            is_replay_checked=policy.replay == "checked",
            needs_nonce=policy.nonce == "required",
        )


def offered_algorithms(providers: Iterable[CompiledProvider]) -> str:
    """Return the algorithms of proofs that challenges offer, separated by blanks; empty where DPoP is not taken."""
    return " ".join(sorted({name for provider in providers if provider.dpop for name in provider.dpop.algorithms}))


@dataclass(frozen=True, slots=True)
class CompiledProvider:
    """One token issuer. Equal when every rule is equal, so that a reload keeps what it may keep.

    Attributes:
        id: Name in providers.yaml.
        source: Where its keys come from.
        times: How long they live.
        audiences: One of them must be in `aud`.
        algorithms: Accepted `alg`, canonical names.
        token_types: Accepted `typ`, lower case.
        client_id_claim: The claim that names the OAuth client.
        leeway_seconds: Clock difference that is forgiven.
        max_lifetime_seconds: Longest `exp` - `iat`.
        shape: How its tokens are written.
        dpop: What is asked of proofs; None where tokens bound to a DPoP key are refused.
        payload_key: Where Envoy's jwt_authn filter writes the claims it verified; None where we verify ourselves.
    """

    id: str
    source: KeySource
    times: KeyTimes
    audiences: frozenset[str]
    algorithms: frozenset[str]
    token_types: frozenset[str]
    client_id_claim: str
    leeway_seconds: float
    max_lifetime_seconds: float = MAX_LIFETIME_SECONDS
    shape: TokenShape = RFC_9068
    dpop: DpopPolicy | None = None
    payload_key: str | None = None

    @property
    def issuer(self) -> str:
        """Return the exact `iss`."""
        return self.source.issuer


@dataclass(frozen=True, slots=True)
class ProviderProblem:
    """What is wrong in providers.yaml beyond its shape.

    Attributes:
        path: Position in the file, such as `("providers", 0, "issuer")`.
        message: For the policy's author.
    """

    path: tuple[str | int, ...]
    message: str


def check_providers(file: ProvidersFile) -> tuple[ProviderProblem, ...]:
    """Return every rule of providers.yaml that its shape alone cannot express."""
    problems: list[ProviderProblem] = []
    seen: set[str] = set()
    for index, provider in enumerate(file.providers):
        if provider.issuer in seen:
            problems.append(ProviderProblem(("providers", index, "issuer"), "issuer is listed twice"))
        seen.add(provider.issuer)
        problems.extend(_problems(provider, index))
    return tuple(problems)


def _problems(provider: Provider, index: int) -> list[ProviderProblem]:
    if provider.verified_by == "envoy_jwt_authn":
        # Without a key to look under there must be no provider: it would be one whose tokens we verify.
        fault = "" if provider.payload_in_metadata else "verified_by: envoy_jwt_authn needs payload_in_metadata"
        return [ProviderProblem(("providers", index, "verified_by"), fault)] if fault else []
    found = []
    if provider.discovery == "none" and provider.jwks_uri is None:
        found.append(ProviderProblem(("providers", index, "discovery"), "discovery: none needs jwks_uri"))
    hosts = [("jwks_hosts", f"https://{host}") for host in provider.jwks_hosts]
    for name, url in (("issuer", provider.issuer), ("jwks_uri", provider.jwks_uri), *hosts):
        # Without discovery the issuer is a name that tokens carry; nothing is fetched from it.
        reach = None if name == "issuer" and provider.discovery == "none" else _reach_of(provider)
        fault = _url_fault(url, reach) if url else ""
        if fault:
            found.append(ProviderProblem(("providers", index, name), fault))
    return found


def authority_of(url: str) -> Authority:
    """Return host and port of an address; raises ValueError when it has none."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def _reach_of(provider: Provider) -> Reach:
    private = Reach.PRIVATE if provider.allow_private_addresses else Reach.PUBLIC
    return private | Reach.LOOPBACK if provider.allow_http else private


def _url_fault(url: str, reach: Reach | None) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not host or parts.username is not None:
        return "not a URL with a host and without credentials"
    if reach is None:
        return ""
    kind = kind_of(host)
    if parts.scheme == "https":
        is_refused = kind is not None and not may_connect(kind, reach, is_encrypted=True)
        return "not an address of the public internet" if is_refused else ""
    if Reach.LOOPBACK not in reach:
        return "http needs allow_http: true, for development"
    return "" if is_loopback_host(host) else "http is only for loopback and *.localhost"


def compile_providers(file: ProvidersFile) -> tuple[CompiledProvider, ...]:
    """Compile every provider.

    Raises:
        ValueError: `check_providers` finds a problem; call it first to point at the line.
    """
    problems = check_providers(file)
    if problems:
        raise ValueError(problems[0].message)
    return tuple(_compile(provider) for provider in file.providers)


def _key_hosts(provider: Provider) -> frozenset[Authority]:
    return frozenset(
        {authority_of(provider.issuer), *(authority_of(f"https://{host}") for host in provider.jwks_hosts)}
    )


def _compile(provider: Provider) -> CompiledProvider:
    return CompiledProvider(
        id=provider.id,
        source=KeySource(
            provider.issuer, provider.discovery, provider.jwks_uri, _reach_of(provider), _key_hosts(provider)
        ),
        times=KeyTimes(
            max_age=provider.keys_max_age_seconds,
            stale=provider.keys_stale_seconds,
            unknown_kid_cooldown=provider.unknown_kid_cooldown_seconds,
        ),
        audiences=frozenset(provider.audiences),
        algorithms=frozenset(canonical_algorithm(name) for name in provider.algorithms),
        token_types=frozenset(name.lower() for name in provider.typ),
        client_id_claim=provider.client_id_claim,
        leeway_seconds=provider.leeway_seconds,
        max_lifetime_seconds=provider.max_lifetime_seconds,
        shape=TokenShape.compile(provider),
        dpop=DpopPolicy.compile(provider.dpop),
        payload_key=provider.payload_in_metadata if provider.verified_by == "envoy_jwt_authn" else None,
    )
