"""What a stock Keycloak sends, and what of it must not pass, where a provider says `profile: keycloak`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from extauthz.model import Deny, Principal
from helpers.issuer import SigningKey, good_header, mint, mint_raw
from helpers.token_rig import TokenRig, token_rig

KEY = SigningKey("RS256", kid="rsa-1")
OTHER = SigningKey("RS256", kid="rsa-2")
PATH = "/realms/shop"


@pytest.fixture
async def rig() -> AsyncIterator[TokenRig]:
    async with token_rig(KEY, path=PATH, profile="keycloak") as made:
        # Six keys or so, in no order: one to encrypt with, two for RS256.
        made.server.keys = [OTHER, OTHER.jwk(kid="enc", use="enc", alg="RSA-OAEP"), KEY]
        made.server.headers = {"cache-control": "no-cache"}
        yield made


def _claims(rig: TokenRig, **changes: object) -> dict[str, object]:
    now = int(rig.clock.now)
    claims = {
        "exp": now + 300,
        "iat": now,
        "auth_time": now - 4,
        "jti": "onrtac:5c1cc1c3-7a2c-4d12-a6a1-5a2b9a6c0e37",
        "iss": rig.server.issuer,
        "aud": ["https://pay.example.test", "account"],
        "sub": "f3a2a9ce-3f67-4c5b-9f1f-0a2f0e6b5c11",
        "typ": "Bearer",
        "azp": "shop-app",
        "sid": "2f7d0c5e",
        "acr": "1",
        "scope": "email payments:write profile",
        "merchant_id": "m-100",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _token(rig: TokenRig, **changes: object) -> str:
    """Return a token with Keycloak's header: `typ: JWT`, and blanks before the colons."""
    header = '{"alg" : "RS256","typ" : "JWT","kid" : "rsa-1"}'
    return mint_raw(KEY, header.encode(), json.dumps(_claims(rig, **changes)).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": "https://pay.example.test"},
        {"client_id": "shop-app", "auth_time": None, "sid": None},
        {"scope": "profile email payments:write"},
    ],
    ids=["a person's", "one audience as text", "a service account's", "scopes in another order"],
)
async def test_access_token_as_it_is_sent_passes(rig, changes):
    principal = await rig.authenticate(_token(rig, **changes))
    assert isinstance(principal, Principal)
    assert principal.client_id == "shop-app"
    assert "payments:write" in principal.scopes


async def test_access_token_of_a_client_set_up_for_rfc_9068_passes(rig):
    assert isinstance(await rig.authenticate(mint(KEY, _claims(rig), typ="at+jwt")), Principal)


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "DPoP"},
        {"typ": "ID", "nonce": "n"},
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "Logout"},
        {"typ": None},
        {"typ": ["Bearer"]},
        {"sub": None},
        {"aud": None},
        {"azp": None},
        {"azp": None, "client_id": "shop-app"},
        {"client_id": "another-app"},
        {"scope": ["payments:write"]},
    ],
    ids=lambda changes: ", ".join(f"{name} {value}" for name, value in changes.items()),
)
async def test_other_token_of_the_same_issuer_is_refused(rig, changes):
    assert isinstance(await rig.authenticate(_token(rig)), Principal)
    assert isinstance(await rig.authenticate(_token(rig, **changes)), Deny)


async def test_token_that_a_strict_provider_would_refuse_is_refused_there(rig):
    token = _token(rig)
    assert isinstance(await rig.authenticate(token), Principal)
    rig.reload()
    assert isinstance(await rig.authenticate(token), Deny)
    rig.reload(profile="keycloak")
    assert isinstance(await rig.authenticate(token), Principal)


async def test_key_set_that_must_not_be_cached_is_not_fetched_for_each_request(rig):
    for number in range(5):
        assert isinstance(await rig.authenticate(_token(rig, jti=f"trrtcc:{number}")), Principal)
    assert rig.server.jwks_fetches == 1


async def test_rotated_key_that_signs_at_once_is_fetched_once(rig):
    assert isinstance(await rig.authenticate(_token(rig)), Principal)
    new = SigningKey("RS256", kid="rsa-3")
    rig.server.keys = [new, KEY]
    rig.clock.advance(31)
    for number in range(3):
        assert isinstance(await rig.authenticate(mint(new, _claims(rig, jti=f"n-{number}"), typ="JWT")), Principal)
    assert rig.server.jwks_fetches == 2


async def test_refresh_token_with_the_issuers_own_secret_is_refused(rig):
    header = json.dumps(good_header(KEY, alg="HS512", typ="JWT")).encode()
    assert isinstance(await rig.authenticate(mint_raw(KEY, header, json.dumps(_claims(rig)).encode())), Deny)


async def test_issuer_is_the_name_in_the_token_and_not_the_address_of_its_keys(rig):
    """Tokens that Keycloak hands out on its mutual-TLS port still name the http address of its other one."""
    name = "http://keycloak.internal:8080/realms/shop"
    rig.reload(issuer=name, profile="keycloak", discovery="none", jwks_uri=f"{rig.server.issuer}/jwks")
    assert isinstance(await rig.authenticate(_token(rig, iss=name)), Principal)
    for other in (rig.server.issuer, name + "/", "https://keycloak.internal:8080/realms/shop"):
        assert isinstance(await rig.authenticate(_token(rig, iss=other)), Deny)
