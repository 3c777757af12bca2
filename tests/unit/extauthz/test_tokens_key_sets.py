"""Key rotation, floods and outages against a real issuer, with a clock that tests move."""

from __future__ import annotations

import asyncio

import pytest

from chassis.http_client import HttpClient
from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.issuer_keys import MAX_UNKNOWN_KIDS
from extauthz.tokens.key_sets import KeySets
from helpers.clock import FakeClock
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.requests import bearer_request
from helpers.token_rig import TokenRig, providers, token_rig
from helpers.waiting import until

OLD = SigningKey("ES256", kid="old")
NEW = SigningKey("ES256", kid="new")


async def _loaded(rig: TokenRig) -> None:
    assert isinstance(await rig.authenticate(rig.token()), Principal)
    assert rig.server.jwks_fetches == 1


async def test_first_load_is_shared_by_all_who_wait():
    async with token_rig(OLD) as rig:
        tokens = [rig.token(jti=f"t-{number}") for number in range(50)]
        decisions = await asyncio.gather(*(rig.authenticate(token) for token in tokens))
        assert all(isinstance(decision, Principal) for decision in decisions)
        assert (rig.server.metadata_fetches, rig.server.jwks_fetches) == (1, 1)


async def test_waiter_that_gives_up_leaves_the_fetch_to_the_others():
    async with token_rig(OLD) as rig:
        rig.server.gate.clear()
        patient = asyncio.create_task(rig.authenticate(rig.token()))
        await rig.server.asked.wait()
        hasty = await rig.gate.authenticate(bearer_request(rig.token(jti="t-2")), rig.clock.monotonic() + 0.01)
        assert isinstance(hasty, Unavailable)
        assert hasty.reason is Reason.TOKEN_ISSUER_UNAVAILABLE
        rig.server.gate.set()
        assert isinstance(await patient, Principal)
        assert rig.server.jwks_fetches == 1


async def test_cancelled_waiter_leaves_the_fetch_to_the_others():
    async with token_rig(OLD) as rig:
        rig.server.gate.clear()
        first = asyncio.create_task(rig.authenticate(rig.token()))
        second = asyncio.create_task(rig.authenticate(rig.token(jti="t-2")))
        await rig.server.asked.wait()
        first.cancel()
        rig.server.gate.set()
        assert isinstance(await second, Principal)
        assert rig.server.jwks_fetches == 1


async def test_kid_published_a_moment_ago_costs_exactly_one_fetch():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.clock.advance(300)
        rig.server.keys = [OLD, NEW]
        assert isinstance(await rig.authenticate(rig.token(NEW)), Principal)
        assert isinstance(await rig.authenticate(rig.token(OLD)), Principal)
        assert rig.server.jwks_fetches == 2


async def test_flood_of_random_kids_costs_one_fetch_in_the_cooldown():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.clock.advance(300)
        strangers = [SigningKey("ES256", kid=f"stranger-{number}", private=NEW.private) for number in range(200)]
        decisions = await asyncio.gather(*(rig.authenticate(rig.token(key)) for key in strangers))
        assert {type(decision) for decision in decisions} == {Deny}
        assert rig.server.jwks_fetches == 2
        rig.clock.advance(29)
        await rig.authenticate(rig.token(strangers[0]))
        assert rig.server.jwks_fetches == 2


async def test_flood_of_random_kids_cannot_hold_up_the_scheduled_refresh():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.clock.advance(479)
        stranger = SigningKey("ES256", kid="stranger", private=NEW.private)
        assert isinstance(await rig.authenticate(rig.token(stranger)), Deny)
        rig.clock.advance(480)
        fetches = rig.server.jwks_fetches
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == fetches + 1


async def test_memory_of_unknown_kids_stays_bounded():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        issuer = next(iter(rig.keys._issuers.values()))
        for number in range(MAX_UNKNOWN_KIDS + 50):
            issuer.remember_unknown(f"kid-{number}", "ES256")
        assert len(issuer._unknown) == MAX_UNKNOWN_KIDS
        rig.clock.advance(60)
        assert not issuer.may_ask_for(f"kid-{MAX_UNKNOWN_KIDS}", "ES256")
        assert issuer.may_ask_for("kid-0", "ES256")


async def test_background_refresh_comes_before_the_keys_are_old():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.clock.advance(479)
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == 1
        rig.clock.advance(1)
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == 2


async def test_background_work_loads_keys_before_any_request():
    async with token_rig(OLD) as rig:
        await rig.keys.start()
        await rig.server.asked.wait()
        for issuer in rig.keys._issuers.values():
            await issuer.wait_for_refresh(5)
        assert rig.keys.readiness() == ()


async def test_withdrawn_key_stops_after_its_age_although_its_token_is_cached():
    async with token_rig(OLD) as rig:
        token = rig.token(exp=int(rig.clock.now) + 3600)
        assert isinstance(await rig.authenticate(token), Principal)
        rig.server.keys = [NEW]
        rig.clock.advance(600)
        decision = await rig.authenticate(token)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.ACCESS_TOKEN_INVALID


async def test_last_key_withdrawn_leaves_no_key_behind():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.server.keys = []
        rig.clock.advance(480)
        await rig.keys.refresh_due()
        assert isinstance(await rig.authenticate(rig.token()), Deny)


@pytest.mark.parametrize(
    ("cache_control", "age"),
    [
        pytest.param("max-age=120", 120, id="max-age below ours counts"),
        pytest.param("public, max-age=99999", 600, id="max-age above ours is cut"),
        pytest.param("max-age=0", 60, id="max-age 0 is raised to the floor"),
        pytest.param("no-cache", 600, id="no-cache is no fetch per request"),
        pytest.param("no-store, max-age=5", 600, id="no-store is no fetch per request"),
        pytest.param("max-age=junk", 600, id="junk is no answer"),
        pytest.param("s-maxage=100", 600, id="s-maxage is for shared caches"),
        pytest.param("max-age=400, age=100", 300, id="time spent in a cache on the way is gone"),
        pytest.param("max-age=400, age=9000", 60, id="all of the time spent is raised to the floor"),
        pytest.param("max-age=400, age=-5", 400, id="an Age that is none does not count"),
    ],
)
async def test_cache_control_is_honoured_within_bounds(cache_control, age):
    async with token_rig(OLD) as rig:
        cache_control, _, spent = cache_control.partition(", age=")
        rig.server.headers = {"cache-control": cache_control, **({"age": spent} if spent else {})}
        await _loaded(rig)
        rig.clock.advance(age * 0.8 - 1)
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == 1
        rig.clock.advance(1)
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == 2


async def test_outage_keeps_last_good_keys_within_their_bound_then_503():
    async with token_rig(OLD, keys_stale_seconds=3600) as rig:
        token = rig.token(exp=int(rig.clock.now) + 20_000)
        assert isinstance(await rig.authenticate(token), Principal)
        rig.server.status = 500
        rig.clock.advance(600 + 3599)
        await rig.keys.refresh_due()
        assert rig.keys.warnings() == (f"keys of token issuer {rig.server.issuer} are past their age",)
        assert isinstance(await rig.authenticate(token), Principal)
        assert isinstance(await rig.authenticate(rig.token(jti="fresh")), Principal)
        rig.clock.advance(1)
        decision = await rig.authenticate(token)
        assert isinstance(decision, Unavailable)
        assert decision.retry_after_seconds > 0


async def test_outage_over_recovers_with_the_next_attempt():
    async with token_rig(OLD, keys_stale_seconds=0) as rig:
        await _loaded(rig)
        rig.server.status = 500
        rig.clock.advance(600)
        assert isinstance(await rig.authenticate(rig.token()), Unavailable)
        fetches = rig.server.metadata_fetches + rig.server.jwks_fetches
        assert isinstance(await rig.authenticate(rig.token()), Unavailable)
        assert rig.server.metadata_fetches + rig.server.jwks_fetches == fetches
        rig.server.status = 200
        rig.clock.advance(2)
        assert isinstance(await rig.authenticate(rig.token()), Principal)
        assert rig.keys.warnings() == ()


async def test_unknown_kid_while_the_issuer_is_away_is_unavailable_not_denied():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.server.status = 500
        rig.clock.advance(300)
        assert isinstance(await rig.authenticate(rig.token(NEW)), Unavailable)
        assert isinstance(await rig.authenticate(rig.token(OLD)), Principal)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [], "keys": []}', b'\xef\xbb\xbf{"keys": []}', b"x" * 300_000],
    ids=["empty", "list", "no keys", "keys no list", "duplicate member", "byte order mark", "too long"],
)
async def test_unreadable_key_set_keeps_the_last_good_one(body):
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.server.jwks_body = body
        rig.clock.advance(480)
        await rig.keys.refresh_due()
        assert rig.server.jwks_fetches == 2
        assert isinstance(await rig.authenticate(rig.token()), Principal)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"issuer": "https://other.test"}, id="another issuer"),
        pytest.param({"issuer": None}, id="no issuer"),
        pytest.param({"more": "x" * 300_000}, id="a huge document"),
        pytest.param({"jwks_uri": None}, id="no address"),
        pytest.param({"jwks_uri": 5}, id="address is a number"),
        pytest.param({"jwks_uri": "http://169.254.169.254/latest"}, id="address of the cloud's metadata service"),
        pytest.param({"jwks_uri": "http://10.0.0.1/jwks"}, id="private address"),
        pytest.param({"jwks_uri": "https://elsewhere.test/jwks"}, id="a host that nobody named"),
        pytest.param({"jwks_uri": "http://127.0.0.1:9/jwks"}, id="another port of the issuer's host"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, id="no http"),
        pytest.param({"jwks_uri": "http://[::1"}, id="no URL"),
        pytest.param({"jwks_uri": "http://user:word@127.0.0.1/jwks"}, id="credentials in the address"),
    ],
)
async def test_metadata_that_must_not_be_used_yields_no_keys(metadata):
    async with token_rig(OLD) as rig:
        rig.server.metadata = metadata
        assert isinstance(await rig.authenticate(rig.token()), Unavailable)
        assert rig.server.jwks_fetches == 0


async def test_key_set_on_a_host_that_the_policy_names_is_fetched():
    async with IssuerServer(keys=[OLD]) as other, token_rig(OLD) as rig:
        rig.server.metadata = {"jwks_uri": f"{other.url}/jwks"}
        rig.reload(jwks_hosts=(other.url.removeprefix("http://"),))
        assert isinstance(await rig.authenticate(rig.token()), Principal)
        assert (rig.server.jwks_fetches, other.jwks_fetches) == (0, 1)


async def test_redirect_of_the_key_set_is_not_followed():
    async with token_rig(OLD) as rig:
        rig.server.jwks_status = 302
        rig.server.headers = {"location": f"{rig.server.url}/elsewhere"}
        assert isinstance(await rig.authenticate(rig.token()), Unavailable)
        assert (rig.server.metadata_fetches, rig.server.jwks_fetches) == (1, 1)


async def test_address_that_moved_is_found_again_after_a_failure():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.server.status = 404
        rig.clock.advance(480)
        await rig.keys.refresh_due()
        rig.server.status = 200
        rig.clock.advance(60)
        await rig.keys.refresh_due()
        assert rig.server.metadata_fetches == 2


async def test_discovery_is_asked_again_after_an_hour_although_the_old_address_answers():
    async with IssuerServer(keys=[NEW]) as other, token_rig(OLD) as rig:
        rig.reload(jwks_hosts=(other.url.removeprefix("http://"),))
        await _loaded(rig)
        rig.server.metadata = {"jwks_uri": f"{other.url}/jwks"}
        for _ in range(8):
            rig.clock.advance(480)
            await rig.keys.refresh_due()
        assert (rig.server.metadata_fetches, other.jwks_fetches) == (2, 1)
        assert isinstance(await rig.authenticate(rig.token(NEW)), Principal)
        assert isinstance(await rig.authenticate(rig.token(OLD)), Deny)


async def test_other_keys_stay_usable_while_one_issuer_hangs():
    async with IssuerServer(keys=[NEW]) as hanging, token_rig(OLD) as rig:
        hanging.gate.clear()
        both = (*providers(rig.server.issuer), *providers(hanging.issuer, id="hanging"))
        rig.keys.follow(both)
        await rig.keys.start()
        await hanging.asked.wait()
        await until(lambda: rig.keys.generation(both[0]) is not None)
        assert [(state.provider, state.is_usable) for state in rig.keys.states()] == [
            ("test", True),
            ("hanging", False),
        ]
        assert rig.keys.warnings() == (f"keys of token issuer {hanging.issuer} have not arrived",)


async def test_stop_ends_a_fetch_under_way():
    async with token_rig(OLD) as rig:
        rig.server.gate.clear()
        await rig.keys.start()
        await rig.server.asked.wait()
        await rig.keys.stop()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("token-key")]


async def test_follow_forgets_issuers_that_are_gone():
    async with token_rig(OLD) as rig:
        await _loaded(rig)
        rig.reload(issuer="http://127.0.0.1:9/gone")
        assert rig.keys.readiness() == ()
        assert rig.keys.warnings() == ("keys of token issuer http://127.0.0.1:9/gone have not arrived",)
        assert len(rig.keys._issuers) == 1


async def test_fault_of_ours_while_fetching_counts_as_a_failed_fetch(caplog):
    class Broken(HttpClient):
        async def get(self, url, **options):
            raise RuntimeError("bug")

    keys, clock = KeySets(Broken(), FakeClock()), FakeClock()
    keys.follow(providers("http://127.0.0.1:9"))
    gate = TokenGate(providers("http://127.0.0.1:9"), keys, ClaimsCache(), clock)
    request = bearer_request(mint(OLD, good_claims("http://127.0.0.1:9")))
    assert isinstance(await gate.authenticate(request, clock.monotonic() + 5), Unavailable)
    assert "token_keys_refresh_crashed" in caplog.text
    assert request.headers["authorization"].split()[1] not in caplog.text
    await keys.stop()


async def test_logs_name_the_issuer_and_never_the_token(caplog):
    caplog.set_level("DEBUG")
    async with token_rig(OLD) as rig:
        token = rig.token(sub="secret-subject")
        await rig.authenticate(token)
        rig.server.status = 500
        rig.clock.advance(480)
        await rig.keys.refresh_due()
        rig.clock.advance(30)
        stranger = rig.token(SigningKey("ES256", kid="secret-kid", private=NEW.private))
        assert isinstance(await rig.authenticate(stranger), Unavailable)
        assert rig.server.issuer in caplog.text
        for text in (token, stranger, "secret-subject", "secret-kid", *token.split("."), *stranger.split(".")):
            assert text not in caplog.text
