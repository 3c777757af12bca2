"""A logout that was answered with 200 is in force everywhere: real HTTPS, two replicas, one store that pauses."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from prometheus_client import generate_latest

from chassis.clock import SystemClock
from chassis.service import StartRefused
from extauthz.events.pages import LOGOUT_PATH, PUSH_PATH
from helpers.bound_gate import BoundPolicy, bound_gates
from helpers.certificates import ServerFiles, authority, server_pair
from helpers.events import CAEP, LOGOUT, RECEIVER, minted_event
from helpers.issuer import SigningKey
from helpers.life_fleet import free_ports
from helpers.services import check_bytes, edit, reason_of
from helpers.valkey import administrator
from helpers.valkey import running as running_store
from helpers.waiting import until, until_told

KEY = SigningKey("ES256", "k1")
CLOCK = SystemClock()
SIGNER = authority()
EVENTS = f"events: {{audiences: ['{RECEIVER}'], transports: [logout, push]}}"
RECEIVES_SETS = {"Content-Type": "application/secevent+jwt"}


@dataclass
class Hearing(BoundPolicy):
    """The shipped set whose issuer is heard."""

    dpop: str = ""

    def write(self, policies):
        super().write(policies)
        providers = policies / "providers.yaml"
        edit(providers, "    leeway_seconds: 30", f"    {EVENTS}\n    leeway_seconds: 30")
        providers.write_text(f"{providers.read_text()}revocation: {{}}\n")


@dataclass
class Rig:
    gates: list
    port: int
    files: ServerFiles

    @property
    def issuer(self):
        return self.gates[0].issuer.issuer

    def event(self, typ, **claims):
        now = int(CLOCK.wall())
        return minted_event(typ, KEY, **{"iss": self.issuer, "iat": now, **claims})

    def logout_token(self, **claims):
        return self.event("logout+jwt", **{"exp": int(CLOCK.wall()) + 120, "events": LOGOUT, **claims})

    async def post(self, path, signer=SIGNER, **request):
        """Send on a connection of its own; returns status and text."""
        trusting = ssl.create_default_context(cadata=signer.certificate.decode())
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client,
            client.post(f"https://127.0.0.1:{self.port}{path}", **request) as answer,
        ):
            return answer.status, await answer.text()

    async def logout(self, **claims):
        return (await self.post(LOGOUT_PATH, data={"logout_token": self.logout_token(**claims)}))[0]

    async def push(self, name, jti, sub_id):
        text = self.event("secevent+jwt", jti=jti, events={f"{CAEP}{name}": {}}, sub_id=sub_id)
        return (await self.post(PUSH_PATH, data=text, headers=RECEIVES_SETS))[0]

    def scrape(self):
        return generate_latest(self.gates[0].service.registry).decode()


def settings(files, port, **more):
    return {
        "events": f"127.0.0.1:{port}",
        "events_tls_cert": str(files.directory / "tls.pem"),
        "events_tls_key": str(files.directory / "tls.key"),
        **more,
    }


@asynccontextmanager
async def running(tmp_path, store_url, **more):
    """Two replicas, the first of which takes events."""
    files, (port,) = ServerFiles(tmp_path), free_ports(1)
    files.put(server_pair(SIGNER))
    policy = Hearing(store=store_url, first=settings(files, port, **more))
    async with bound_gates(tmp_path, KEY, policy, replicas=2) as gates:
        await until(lambda: all(gate.service.readiness().is_ready for gate in gates), 30.0)
        yield Rig(gates, port, files)


async def pay(gate, token):
    return reason_of(await gate.call(check_bytes(token)))


async def until_ended(gates, token):
    for gate in gates:

        async def is_ended(gate=gate):
            return await pay(gate, token) == "token_revoked"

        await until_told(is_ended)


@asynccontextmanager
async def old_store():
    """A store whose list is not young, so that replicas believe it at once."""
    async with running_store() as store:
        async with administrator(store.url) as admin:
            await admin.hset("tollhouse:{revoked}:list", mapping={"id": "old", "born": 0})
        yield store


async def test_logout_ends_warm_tokens_on_every_replica(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        past = int(CLOCK.wall()) - 100
        of_session = rig.gates[0].token(jti="t-1", sub="alice", sid="s-1", iat=past)
        of_subject = rig.gates[0].token(jti="t-2", sub="bob", iat=past)
        of_others = rig.gates[0].token(jti="t-3", sub="carol", sid="s-3", iat=past)
        for gate in rig.gates:
            assert {await pay(gate, token) for token in (of_session, of_subject, of_others)} == {"allow"}
        assert await rig.logout(jti="e-1", sid="s-1") == 200
        assert await pay(rig.gates[0], of_session) == "token_revoked"  # at once where the event came in
        await until_ended(rig.gates, of_session)
        subject = {"format": "iss_sub", "iss": rig.issuer, "sub": "bob"}
        assert await rig.push("credential-change", "e-2", subject) == 202
        await until_ended(rig.gates, of_subject)
        for gate in rig.gates:
            assert await pay(gate, of_others) == "allow"
        assert await rig.logout(jti="e-1", sid="s-1") == 200
        assert await rig.push("credential-change", "e-2", subject) == 202
        assert 'tollhouse_events_total{outcome="repeated",transport="logout"} 1.0' in rig.scrape()
        assert 'tollhouse_events_total{outcome="repeated",transport="push"} 1.0' in rig.scrape()
        assert 'tollhouse_events_total{outcome="accepted",transport="push"} 1.0' in rig.scrape()


async def test_token_of_the_next_login_passes(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        now = int(CLOCK.wall())
        assert await rig.logout(jti="e-1", sub="alice", iat=now - 50) == 200
        await until_ended(rig.gates, rig.gates[0].token(jti="t-1", sub="alice", iat=now - 60))
        again = rig.gates[0].token(jti="t-2", sub="alice", iat=now - 40)
        assert {await pay(gate, again) for gate in rig.gates} == {"allow"}


async def test_event_is_503_while_the_store_is_away_and_in_force_when_it_is_sent_again(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        token = rig.gates[0].token(jti="t-1", sid="s-1")
        assert {await pay(gate, token) for gate in rig.gates} == {"allow"}
        os.kill(store.pid, signal.SIGSTOP)
        try:
            assert await rig.logout(jti="e-1", sid="s-1") == 503
            assert 'tollhouse_events_total{outcome="postponed",transport="logout"} 1.0' in rig.scrape()
        finally:
            os.kill(store.pid, signal.SIGCONT)

        async def is_taken():
            return await rig.logout(jti="e-1", sid="s-1") == 200

        await until_told(is_taken)
        await until_ended(rig.gates, token)


async def test_policy_that_stops_listening_is_obeyed(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        assert await rig.logout(jti="e-1", sid="s-1") == 200
        edit(rig.gates[0].policies / "providers.yaml", f"    {EVENTS}\n", "")

        async def is_refused():
            status, text = await rig.post(LOGOUT_PATH, data={"logout_token": rig.logout_token(jti="e-2", sid="s-2")})
            return status == 503 or "invalid_issuer" in text

        await until_told(is_refused)
        assert any("no provider" in text for text in rig.gates[0].service.readiness().warnings)


async def test_renewed_certificate_is_shown_without_a_restart(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        other = authority("two")
        rig.files.put(server_pair(other))

        async def is_shown():
            try:
                status, _ = await rig.post(LOGOUT_PATH, other, data={"logout_token": rig.logout_token(sid="s-1")})
            except aiohttp.ClientConnectorCertificateError:
                return False
            return status == 200

        await until_told(is_shown)
        assert "tollhouse_events_certificate_expiry_seconds" in rig.scrape()
        rig.files.put_bytes("tls.pem", b"nothing")
        await until(lambda: any("events: the last good TLS files" in text for text in warnings(rig)), 20.0)
        assert await is_shown()


def warnings(rig):
    return rig.gates[0].service.readiness().warnings


async def test_replica_without_a_listener_says_that_another_has_to_take_events(tmp_path):
    async with old_store() as store, running(tmp_path, store.url) as rig:
        told = [gate.service.readiness().warnings for gate in rig.gates]
        assert [any("has no --events" in text for text in each) for each in told] == [False, True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"events_tls_cert": "/is/not/there"}, "/is/not/there"),
        ({"events_push_token_file": "/is/not/there"}, "/is/not/there"),
        ({"events": "0.0.0.0:0", "events_tls_cert": "", "events_tls_key": ""}, "needs TLS"),
    ],
)
async def test_listener_that_cannot_be_is_no_start(tmp_path, changes, said):
    with pytest.raises(StartRefused, match=said):
        async with running(tmp_path, "memory:", **changes):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "decision-log"]


async def test_address_that_is_taken_is_no_start(tmp_path):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        with pytest.raises(StartRefused, match="cannot be bound"):
            async with running(tmp_path, "memory:", events=f"127.0.0.1:{port}"):
                pass


async def test_listener_without_a_place_to_write_is_no_start(tmp_path):
    policy = BoundPolicy(dpop="", store="", first={"events": "127.0.0.1:0"})
    with pytest.raises(StartRefused, match="--events needs --store"):
        async with bound_gates(tmp_path, KEY, policy):
            pass
