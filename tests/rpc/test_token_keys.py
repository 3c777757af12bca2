"""extauthz as it runs while its token issuer changes keys, hangs, lies or is away; called with Envoy's bytes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import extauthz.server
from helpers.cards import write_card_keys_file
from helpers.clock import FakeClock
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, CHECK_METHOD, check_bytes, copy_policies, reason_of
from helpers.waiting import until
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

OLD, NEW = SigningKey("ES256", kid="old"), SigningKey("ES256", kid="new")


class Gate:
    """A running extauthz with a clock that the test moves."""

    def __init__(self, service: Any, issuer: str, clock: FakeClock) -> None:
        self.service, self.issuer, self.clock = service, issuer, clock

    def token(self, key: SigningKey, **claims: Any) -> str:
        return mint(key, good_claims(self.issuer, self.clock.now, aud=AUDIENCE, merchant_id="m_active", **claims))

    async def check(self, token: str, seconds: float = 5.0) -> wire.CheckResponse:
        answer = await self.service.methods[CHECK_METHOD](check_bytes(token), self.clock.monotonic() + seconds)
        return wire.CheckResponse.FromString(answer)

    async def reason(self, token: str, seconds: float = 5.0) -> str:
        return reason_of(await self.check(token, seconds))

    def metric(self, name: str) -> float | None:
        return self.service.registry.get_sample_value(f"tollhouse_token_keys_{name}", {"provider": "development"})


@asynccontextmanager
async def running(tmp_path: Path, issuer: str, clock: FakeClock, snapshot: str = "") -> AsyncIterator[Gate]:
    """Run extauthz over the shipped policy set, with `issuer` for the one it trusts."""
    policies = tmp_path / "policies"
    if not policies.exists():
        copy_policies(policies, issuer)
    settings = ServiceSettings(
        policies=str(policies),
        decision_log=str(tmp_path / "decisions.jsonl"),
        card_key_file=str(write_card_keys_file(tmp_path / "card.keys")),
        jwks_snapshot=snapshot,
    )
    service = extauthz.server.build(settings, clock)
    await service.start()
    try:
        yield Gate(service, issuer, clock)
    finally:
        await service.stop()


def now() -> FakeClock:
    return FakeClock(now=float(int(time.time())))


def assert_is_our_fault(response: wire.CheckResponse) -> None:
    """Check that an answer is a 503 that says when to come again, and challenges nobody (RFC 9110 section 15.6.4)."""
    assert reason_of(response) == "token_issuer_unavailable"
    assert response.error_response.status.code == 503
    headers = {option.header.key.lower(): option.header.value for option in response.error_response.headers}
    assert int(headers["retry-after"]) > 0
    assert "www-authenticate" not in headers


async def test_start_without_the_issuer_passes_payments_with_the_keys_of_the_last_run(tmp_path):
    directory, clock = tmp_path / "keys", now()
    directory.mkdir(mode=0o700)
    async with IssuerServer(keys=[OLD]) as issuer:
        async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
            assert await gate.reason(gate.token(OLD)) == "allow"
        assert len(list(directory.iterdir())) == 1
    async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
        await until(lambda: gate.service.readiness().is_ready)
        assert gate.service.readiness().warnings == (f"keys of token issuer {issuer.issuer} are of a snapshot",)
        assert await gate.reason(gate.token(OLD)) == "allow"
        assert_is_our_fault(await gate.check(gate.token(NEW)))
        assert gate.metric("usable") == 1
        assert gate.metric("fetch_failures_total") >= 1


async def test_start_without_the_issuer_and_without_keys_is_not_ready_and_answers_503(tmp_path):
    async with IssuerServer(keys=[OLD]) as issuer:
        pass
    async with running(tmp_path, issuer.issuer, now()) as gate:
        assert_is_our_fault(await gate.check(gate.token(OLD)))
        assert gate.service.readiness().waiting_for == (f"keys of token issuer {issuer.issuer}",)
        assert gate.metric("usable") == 0


async def test_start_while_the_issuer_hangs_uses_the_keys_of_the_last_run_within_the_deadline(tmp_path):
    directory, clock = tmp_path / "keys", now()
    directory.mkdir(mode=0o700)
    async with IssuerServer(keys=[OLD]) as issuer:
        async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
            assert await gate.reason(gate.token(OLD)) == "allow"
        issuer.gate.clear()
        async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
            assert await gate.reason(gate.token(OLD), seconds=0.05) == "allow"
            assert not gate.service.readiness().is_ready


async def test_issuer_that_comes_back_takes_the_place_of_the_snapshot(tmp_path):
    directory, clock = tmp_path / "keys", now()
    directory.mkdir(mode=0o700)
    async with IssuerServer(keys=[OLD]) as issuer:
        async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
            assert await gate.reason(gate.token(OLD)) == "allow"
        issuer.keys = [NEW]
        async with running(tmp_path, issuer.issuer, clock, str(directory)) as gate:
            assert await gate.reason(gate.token(OLD)) == "access_token_invalid"
            assert await gate.reason(gate.token(NEW)) == "allow"
            assert gate.service.readiness().warnings == ()
    assert '"kid":"new"' in next(directory.iterdir()).read_text()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 500}, id="answers 500"),
        pytest.param({"jwks_status": 302, "headers": {"location": "/elsewhere"}}, id="sends us elsewhere"),
        pytest.param({"metadata": {"issuer": "https://other.test"}}, id="names another issuer"),
        pytest.param({"metadata": {"jwks_uri": "https://169.254.169.254/keys"}}, id="leads to a metadata service"),
        pytest.param({"metadata": {"more": "x" * 300_000}}, id="huge metadata"),
        pytest.param({"jwks_body": b'{"keys":[' + b" " * 300_000 + b"]}"}, id="huge key set"),
        pytest.param({"jwks_body": b"<html>maintenance</html>"}, id="answers with a page"),
    ],
)
async def test_fault_of_the_issuer_is_no_fault_of_the_caller(tmp_path, fault):
    async with IssuerServer(keys=[OLD], **fault) as issuer, running(tmp_path, issuer.issuer, now()) as gate:
        assert_is_our_fault(await gate.check(gate.token(OLD)))
        for name in fault:
            setattr(issuer, name, getattr(IssuerServer(), name))
        gate.clock.advance(60)
        assert await gate.reason(gate.token(OLD)) == "allow"


async def test_issuer_that_hangs_holds_a_call_no_longer_than_its_deadline(tmp_path):
    async with IssuerServer(keys=[OLD]) as issuer:
        issuer.gate.clear()
        async with running(tmp_path, issuer.issuer, now()) as gate:
            assert_is_our_fault(await gate.check(gate.token(OLD), seconds=0.05))
            issuer.gate.set()
            assert await gate.reason(gate.token(OLD)) == "allow"


async def test_rotation_new_keys_pass_at_once_and_old_ones_stop_with_what_was_remembered(tmp_path):
    async with IssuerServer(keys=[OLD]) as issuer, running(tmp_path, issuer.issuer, now()) as gate:
        cached = gate.token(OLD, exp=int(gate.clock.now) + 3600)
        assert await gate.reason(cached) == "allow"
        gate.clock.advance(31)
        issuer.keys = [OLD, NEW]
        assert await gate.reason(gate.token(NEW)) == "allow"
        assert await gate.reason(cached) == "allow"
        issuer.keys = [NEW]
        gate.clock.advance(601)
        assert await gate.reason(cached) == "access_token_invalid"
        assert await gate.reason(gate.token(OLD)) == "access_token_invalid"
        assert await gate.reason(gate.token(NEW)) == "allow"


@pytest.mark.parametrize("leak", [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, NEW.jwk(d="c2VjcmV0")], ids=["oct", "d"])
async def test_published_secret_is_not_used_and_shown_while_the_other_keys_serve(tmp_path, leak):
    async with IssuerServer(keys=[OLD, leak]) as issuer, running(tmp_path, issuer.issuer, now()) as gate:
        assert await gate.reason(gate.token(OLD)) == "allow"
        assert await gate.reason(gate.token(NEW)) == "access_token_invalid"
        warning = f"token issuer {issuer.issuer} publishes a secret key; it is not used"
        assert gate.service.readiness().warnings == (warning,)
        assert gate.metric("skipped") == 1


async def test_failing_disk_of_the_snapshots_is_shown_while_calls_are_answered(tmp_path):
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    async with IssuerServer(keys=[OLD]) as issuer, running(tmp_path, issuer.issuer, now(), str(directory)) as gate:
        await until(lambda: list(directory.glob("*.json")))
        directory.rename(tmp_path / "gone")
        gate.clock.advance(500)
        await until(lambda: gate.service.readiness().warnings)
        assert gate.service.readiness().warnings == ("key snapshots: the directory cannot be read",)
        assert await gate.reason(gate.token(OLD)) == "allow"


async def test_outage_serves_on_within_the_bound_and_shows_it(tmp_path):
    async with IssuerServer(keys=[OLD]) as issuer, running(tmp_path, issuer.issuer, now()) as gate:
        cached = gate.token(OLD, exp=int(gate.clock.now) + 86_400)
        assert await gate.reason(cached) == "allow"
        assert (gate.metric("past_age_seconds"), gate.metric("left_seconds")) == (0, 600 + 86_400)
        issuer.status = 503
        gate.clock.advance(80_000)
        assert await gate.reason(cached) == "allow"
        assert await gate.reason(gate.token(OLD)) == "allow"
        assert (gate.metric("past_age_seconds"), gate.metric("usable")) == (79_400, 1)
        gate.clock.advance(7000)
        assert_is_our_fault(await gate.check(gate.token(OLD)))
        assert (gate.metric("left_seconds"), gate.metric("usable")) == (0, 0)
