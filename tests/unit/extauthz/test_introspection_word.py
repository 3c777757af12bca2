"""What an issuer's word is worth: replies about other tokens, replies that leave things out, faults that are told."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from extauthz.introspection.metrics import register_introspection
from extauthz.model import Deny, Principal, Unavailable
from helpers.asking_rig import OPAQUE, active, jwt_of, rig

HASH = "A" * 43


@pytest.mark.parametrize(
    "kind", [{"token_type": "refresh_token"}, {"token_use": "refresh_token"}, {"typ": "ID"}, {"token_type": 7}]
)
async def test_reply_about_another_kind_of_token_is_no_access_token(tmp_path, kind):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(**kind)
        assert isinstance(await gate.authenticate(), Deny)


@pytest.mark.parametrize(
    "kind",
    [
        {"token_type": "Bearer"},
        {"token_use": "access_token"},
        {"typ": "Bearer"},
    ],
)
async def test_reply_about_an_access_token_is_taken(tmp_path, kind):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(**kind)
        assert isinstance(await gate.authenticate(), Principal)


@pytest.mark.parametrize(
    "kind", [{"token_type": "DPoP"}, {"typ": "DPoP"}, {"token_type": "dpop", "cnf": {"x5t#S256": HASH}}]
)
async def test_reply_that_says_dpop_and_names_no_key_is_no_bearer_token(tmp_path, kind):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(**kind)
        assert isinstance(await gate.authenticate(), Deny)


async def test_token_of_unknown_age_is_as_old_as_a_token_may_be(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(iat=None)
        caller = await gate.authenticate()
        assert isinstance(caller, Principal)
        assert caller.issued_at == caller.expires_at - 86_400  # so an end of all tokens of a subject hits it


async def test_token_of_unknown_end_is_good_as_long_as_the_answer_is_kept(tmp_path):
    async with rig(tmp_path, cache_seconds=10) as gate:
        gate.endpoint.say = lambda _token: active(iat=None, exp=None)
        for _ in range(2):
            assert isinstance(await gate.authenticate(), Principal)
            gate.clock.advance(9.9)
        gate.endpoint.say = lambda _token: {"active": False}
        gate.clock.advance(0.2)
        assert isinstance(await gate.authenticate(), Deny)


async def test_member_that_holds_a_token_is_no_claim(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(jwt=jwt_of(gate, sub="another"))
        caller = await gate.authenticate()
        assert isinstance(caller, Principal)
        assert (caller.subject, "jwt" in caller.claims) == ("merchant-service-1", False)


async def test_jwt_is_confirmed_by_a_bare_word(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: {"active": True}
        assert await gate.confirm(jwt_of(gate)) is None


async def test_caller_that_gives_up_leaves_the_question_to_the_others(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active()
        gate.endpoint.gate.clear()
        first, second = (asyncio.create_task(gate.authenticate()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        gate.endpoint.gate.set()
        assert isinstance(await second, Principal)
        assert len(gate.endpoint.questions) == 1


async def test_stop_ends_questions_without_a_verdict(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.gate.clear()
        waiting = asyncio.create_task(gate.authenticate())
        await asyncio.sleep(0)
        await gate.introspector.stop()
        assert isinstance(await waiting, Unavailable)


async def test_outage_is_counted_and_told_to_the_log_once_without_tokens(tmp_path, caplog):
    async with rig(tmp_path) as gate:
        registry = CollectorRegistry()
        register_introspection(registry, gate.introspector)
        gate.endpoint.status = 401
        for number in range(5):
            await gate.authenticate(f"{OPAQUE}{number}")
        (record,) = [record for record in caplog.records if record.name == "extauthz.introspection.asking"]
        assert "status 4xx" in record.getMessage()
        assert OPAQUE not in caplog.text
        assert "s3cr" not in caplog.text
        of_main = {"provider": "main"}
        assert registry.get_sample_value("tollhouse_introspection_questions_total", of_main) == 5
        assert registry.get_sample_value("tollhouse_introspection_failures_total", of_main) == 5
