"""Fetching a token issuer's documents: metadata (OIDC Discovery, RFC 8414) and its JWK set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from chassis.http_client import FetchFailed, HttpClient, HttpReply
from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.tokens.keys import MAX_JWKS_BYTES, JwksInvalid, KeySet, read_jwks
from extauthz.tokens.providers import KeySource, authority_of

FETCH_TIMEOUT_SECONDS = 5.0
MAX_METADATA_BYTES = 256 * 1024
MAX_URL_CHARACTERS = 500

_METADATA_LIMITS = JsonLimits(max_bytes=MAX_METADATA_BYTES, max_depth=16)
_WELL_KNOWN = {"oidc": "/.well-known/openid-configuration", "oauth2": "/.well-known/oauth-authorization-server"}
_MAX_AGE = re.compile(r'(?:^|,)\s*max-age\s*=\s*"?(\d{1,9})"?\s*(?:,|$)', re.IGNORECASE)
_DELTA_SECONDS = re.compile(r"\d{1,9}\Z")
_UNCACHED = re.compile(r"(?:^|,)\s*no-(?:cache|store)\b", re.IGNORECASE)


def metadata_url(issuer: str, form: str) -> str:
    """Return where an issuer's metadata stands.

    `oidc` appends the well-known suffix to the issuer (OIDC Discovery section 4); `oauth2` puts it
    between host and path (RFC 8414 section 3.1). A slash at the issuer's end is taken off first.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    placed = path + _WELL_KNOWN[form] if form == "oidc" else _WELL_KNOWN[form] + path
    return urlunsplit((parts.scheme, parts.netloc, placed, "", ""))


async def discover_jwks_uri(http: HttpClient, source: KeySource) -> str:
    """Return the address of an issuer's JWK set.

    Raises:
        FetchFailed: No document, not strict JSON, another `issuer` (RFC 8414 section 3.3: such a document must
            not be used), or no acceptable `jwks_uri`.
    """
    if source.jwks_uri is not None:
        return source.jwks_uri
    reply = await http.get(
        metadata_url(source.issuer, source.discovery),
        max_bytes=MAX_METADATA_BYTES,
        timeout_seconds=FETCH_TIMEOUT_SECONDS,
        reach=source.reach,
    )
    metadata = _metadata(reply)
    if metadata.get("issuer") != source.issuer:
        raise FetchFailed("metadata names another issuer")
    address = metadata.get("jwks_uri")
    if not isinstance(address, str) or len(address) > MAX_URL_CHARACTERS:
        raise FetchFailed("metadata has no jwks_uri")
    _check_discovered(address, source)
    return address


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A JWK set that has just been fetched.

    Attributes:
        keys: What it holds.
        body: The document.
        max_age: How many seconds the issuer says it may be kept: None when it gives no usable answer.
            `no-cache` is no answer: checking back on every request is not possible here.
    """

    keys: KeySet
    body: bytes
    max_age: float | None


async def fetch_keys(http: HttpClient, source: KeySource, jwks_uri: str) -> FetchedKeys:
    """Fetch and read a JWK set.

    Raises:
        FetchFailed: No reply with status 200, or no JWK set in it.
    """
    reply = await http.get(
        jwks_uri,
        max_bytes=MAX_JWKS_BYTES,
        timeout_seconds=FETCH_TIMEOUT_SECONDS,
        reach=source.reach,
    )
    _check_status(reply)
    try:
        return FetchedKeys(read_jwks(reply.body), reply.body, _max_age(reply.headers))
    except JwksInvalid as error:
        raise FetchFailed(str(error)) from None


def _metadata(reply: HttpReply) -> Mapping[str, Any]:
    _check_status(reply)
    try:
        metadata = parse_strict(reply.body, _METADATA_LIMITS)
    except StrictJsonError as error:
        raise FetchFailed(f"metadata is not strict JSON: {error.detail}") from None
    if not isinstance(metadata, dict):
        raise FetchFailed("metadata is not an object")
    return metadata


def _check_status(reply: HttpReply) -> None:
    if reply.status != 200:
        raise FetchFailed(f"status {reply.status}")


def _check_discovered(address: str, source: KeySource) -> None:
    """Refuse an address that the policy does not know: a document must not choose whom we ask (rfc8725bis 3.10)."""
    try:
        authority = authority_of(address)
    except ValueError:
        raise FetchFailed("metadata has no jwks_uri") from None
    if authority not in source.hosts:
        raise FetchFailed("jwks_uri is on a host that the policy does not name")


def _max_age(headers: Mapping[str, str]) -> float | None:
    """Return how long a reply is fresh for from now on (RFC 9111 sections 4.2.1 and 4.2.3)."""
    cache_control = headers.get("cache-control", "")
    found = _MAX_AGE.search(cache_control)
    if not found or _UNCACHED.search(cache_control):
        return None
    spent = _DELTA_SECONDS.match(headers.get("age", ""))
    return max(0.0, float(found.group(1)) - (float(spent.group()) if spent else 0.0))
