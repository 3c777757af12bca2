"""The gate over a real issuer: what a good token yields, and what a cache hit still checks."""

from __future__ import annotations

import pytest

from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from helpers.issuer import AUDIENCE, SigningKey, good_claims, mint
from helpers.requests import authz_request
from helpers.token_rig import token_rig

RSA_PRIVATE = SigningKey("RS256").private
KEY = SigningKey("ES256")


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])
async def test_authenticate_good_token_yields_principal(alg):
    key = SigningKey(alg, private=RSA_PRIVATE if alg[1] == "S" and alg[0] in "RP" else None)
    async with token_rig(key) as rig:
        principal = await rig.authenticate(rig.token())
        assert isinstance(principal, Principal)
        assert (principal.client_id, principal.subject) == ("shop-1", "merchant-service-1")
        assert principal.scopes == {"payments:write", "payments:read"}
        assert (principal.token_issuer, principal.expires_at) == (rig.server.issuer, rig.clock.now + 600)
        assert principal.claims["merchant_id"] == "m-100"


@pytest.mark.parametrize(("published", "sent"), [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")])
async def test_authenticate_either_name_of_ed25519_is_accepted(published, sent):
    key = SigningKey(published)
    async with token_rig(key, algorithms=(sent,)) as rig:
        token = mint(key, good_claims(rig.server.issuer, rig.clock.now), alg=sent)
        assert isinstance(await rig.authenticate(token), Principal)


@pytest.mark.parametrize("form", ["oidc", "oauth2"])
async def test_authenticate_issuer_with_a_path_is_discovered_in_either_form(form):
    async with token_rig(KEY, path="/realms/shop", discovery=form) as rig:
        assert isinstance(await rig.authenticate(rig.token()), Principal)
        assert (rig.server.metadata_fetches, rig.server.jwks_fetches) == (1, 1)


async def test_authenticate_without_discovery_asks_only_for_keys():
    async with token_rig(KEY) as rig:
        rig.reload(discovery="none", jwks_uri=f"{rig.server.issuer}/jwks")
        assert isinstance(await rig.authenticate(rig.token()), Principal)
        assert (rig.server.metadata_fetches, rig.server.jwks_fetches) == (0, 1)


async def test_authenticate_without_credentials_is_challenged_without_error():
    async with token_rig(KEY) as rig:
        decision = await rig.gate.authenticate(authz_request(), rig.clock.monotonic() + 1)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.ACCESS_TOKEN_MISSING
        assert decision.challenge is not None
        assert decision.challenge.error is None
        assert rig.server.jwks_fetches == 0


async def test_cache_hit_yields_the_same_principal_and_fetches_nothing():
    async with token_rig(KEY) as rig:
        token = rig.token()
        first = await rig.authenticate(token)
        second = await rig.authenticate(token)
        assert first is second
        assert len(rig.cache) == 1


async def test_cache_hit_after_expiry_is_refused_and_forgotten():
    async with token_rig(KEY) as rig:
        token = rig.token(exp=int(rig.clock.now) + 30)
        assert isinstance(await rig.authenticate(token), Principal)
        rig.clock.advance(89)
        assert isinstance(await rig.authenticate(token), Principal)
        rig.clock.advance(1)
        decision = await rig.authenticate(token)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.ACCESS_TOKEN_EXPIRED
        assert len(rig.cache) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"audiences": ("https://other.test",)}, Reason.ACCESS_TOKEN_AUDIENCE, id="audience removed"),
        pytest.param({"algorithms": ("RS256",)}, Reason.ACCESS_TOKEN_INVALID, id="algorithm removed"),
        pytest.param({"typ": ("other+jwt",)}, Reason.ACCESS_TOKEN_INVALID, id="type removed"),
        pytest.param({"client_id_claim": "azp"}, Reason.ACCESS_TOKEN_INVALID, id="client claim changed"),
    ],
)
async def test_reload_that_tightens_refuses_the_next_request(change, reason):
    async with token_rig(KEY) as rig:
        token = rig.token()
        assert isinstance(await rig.authenticate(token), Principal)
        rig.reload(**change)
        decision = await rig.authenticate(token)
        assert isinstance(decision, Deny)
        assert decision.reason is reason


async def test_reload_without_change_keeps_keys_and_cache():
    async with token_rig(KEY) as rig:
        token = rig.token()
        first = await rig.authenticate(token)
        rig.reload()
        assert await rig.authenticate(token) is first
        assert rig.server.jwks_fetches == 1


async def test_reload_that_removes_the_issuer_refuses_the_next_request():
    async with token_rig(KEY) as rig:
        token = rig.token()
        assert isinstance(await rig.authenticate(token), Principal)
        rig.reload(issuer="http://127.0.0.1:9/other")
        decision = await rig.authenticate(token)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.ACCESS_TOKEN_INVALID


async def test_wrong_audience_is_never_cached():
    async with token_rig(KEY) as rig:
        assert isinstance(await rig.authenticate(rig.token(aud="https://other.test")), Deny)
        assert len(rig.cache) == 0


async def test_key_never_fetched_and_issuer_away_is_unavailable_not_denied():
    async with token_rig(KEY) as rig:
        rig.server.status = 500
        decision = await rig.authenticate(rig.token())
        assert isinstance(decision, Unavailable)
        assert decision.reason is Reason.TOKEN_ISSUER_UNAVAILABLE
        assert rig.keys.readiness() == (f"keys of token issuer {rig.server.issuer}",)


async def test_decisions_never_hold_token_or_claim_text():
    async with token_rig(KEY) as rig:
        token = rig.token(aud="https://secret-audience.test", sub="secret-subject")
        decision = await rig.authenticate(token)
        assert AUDIENCE not in repr(decision)
        assert "secret" not in repr(decision)
