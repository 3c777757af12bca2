"""A flood of bad tokens from one address is held up before it costs signature checks, and nobody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from extauthz.model import Deny, Principal
from extauthz.reasons import Reason
from helpers.issuer import SigningKey, b64, good_claims, mint
from helpers.requests import authz_request
from helpers.token_rig import TokenRig, token_rig

KEY = SigningKey("ES256")
STRANGER = SigningKey("ES256")
LIMIT = 20


@pytest.fixture
async def rig() -> AsyncIterator[TokenRig]:
    async with token_rig(KEY) as made:
        made.gate.failures_per_minute = LIMIT
        yield made


async def _flood(rig: TokenRig, times: int, **request: str) -> list[Reason]:
    head = rig.token(jti="flood").rsplit(".", 1)[0]
    reasons = []
    for number in range(times):
        decision = await rig.authenticate(f"{head}.{b64(number.to_bytes(64, 'big'))}", **request)
        assert isinstance(decision, Deny)
        reasons.append(decision.reason)
    return reasons


async def test_flood_is_answered_429_after_as_many_refusals_as_the_policy_allows(rig):
    reasons = await _flood(rig, 3 * LIMIT)
    assert reasons == [Reason.ACCESS_TOKEN_INVALID] * LIMIT + [Reason.AUTHENTICATION_FAILURES] * 2 * LIMIT


async def test_held_up_address_is_told_how_long_and_let_in_again(rig):
    await _flood(rig, LIMIT)
    decision = await rig.authenticate(rig.token())
    assert isinstance(decision, Deny)
    assert decision.reason.spec.http_status == 429
    assert decision.retry_after_seconds == 3
    rig.clock.advance(decision.retry_after_seconds)
    assert isinstance(await rig.authenticate(rig.token()), Principal)


async def test_token_that_was_verified_passes_from_an_address_that_is_held_up(rig):
    token = rig.token()
    assert isinstance(await rig.authenticate(token), Principal)
    await _flood(rig, 2 * LIMIT)
    assert isinstance(await rig.authenticate(token), Principal)
    assert isinstance(await rig.authenticate(rig.token(jti="new")), Deny)


async def test_other_address_is_not_held_up(rig):
    await _flood(rig, 2 * LIMIT)
    assert isinstance(await rig.authenticate(rig.token(), peer_ip="198.51.100.9"), Principal)


async def test_reload_forgets_no_failure(rig):
    await _flood(rig, LIMIT)
    rig.reload()
    rig.gate.failures_per_minute = LIMIT
    assert (await _flood(rig, 1)) == [Reason.AUTHENTICATION_FAILURES]


async def test_held_up_token_is_not_looked_into(rig):
    await _flood(rig, LIMIT)
    fetches = rig.server.jwks_fetches
    rig.clock.advance(1)
    unknown = mint(STRANGER, good_claims(rig.server.issuer, rig.clock.now), kid="never-seen")
    assert isinstance(await rig.authenticate(unknown), Deny)
    assert rig.server.jwks_fetches == fetches


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}])
async def test_request_that_shows_no_token_counts_for_nothing(rig, headers):
    request = authz_request(headers=headers)
    for _ in range(2 * LIMIT):
        assert isinstance(await rig.gate.authenticate(request, rig.clock.monotonic() + 5), Deny)
    assert isinstance(await rig.authenticate(rig.token()), Principal)


async def test_fault_of_our_own_counts_for_nothing():
    async with token_rig(KEY) as rig:
        rig.gate.failures_per_minute = LIMIT
        rig.server.status = 500
        for _ in range(2 * LIMIT):
            assert not isinstance(await rig.authenticate(rig.token()), Deny)
