"""The events listener over real HTTPS: what is said of each event, and when."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

import extauthz.events.listener
import extauthz.events.pages
from chassis.admin_access import AdminToken
from chassis.listen import ListenAddress
from extauthz.events.listener import MAX_PER_SENDER, EventListener
from extauthz.events.metrics import EventMetrics
from extauthz.events.model import EndedTokens, ReceivedEvent
from extauthz.events.pages import (
    FAILURES_PER_MINUTE,
    LOGOUT_PATH,
    MAX_BODY_BYTES,
    PUSH_PATH,
    EventMeans,
    EventNotWritten,
)
from helpers.certificates import authority, server_pair
from helpers.events import CAEP, logout_token, reading, security_event
from helpers.issuer import NOW
from helpers.token_rig import TokenRig

SET = {"Content-Type": "application/secevent+jwt"}
SIGNER = authority()


@dataclass
class Sink:
    """Remembers what it was given, or is away."""

    is_away: bool = False
    events: list[ReceivedEvent] = field(default_factory=list)

    async def accept(self, event: ReceivedEvent, deadline: float) -> bool:
        if self.is_away:
            raise EventNotWritten
        self.events.append(event)
        return True


@dataclass
class Rig:
    issuer: TokenRig
    sink: Sink
    client: aiohttp.ClientSession
    registry: CollectorRegistry
    port: int

    def counted(self, transport: str, outcome: str) -> float | None:
        labels = {"transport": transport, "outcome": outcome}
        return self.registry.get_sample_value("tollhouse_events_total", labels)

    async def logout(self, *tokens: str) -> aiohttp.ClientResponse:
        return await self.client.post(LOGOUT_PATH, data=[("logout_token", token) for token in tokens])

    async def push(self, body: str, **headers: str) -> aiohttp.ClientResponse:
        return await self.client.post(PUSH_PATH, data=body, headers={**SET, **headers})


@asynccontextmanager
async def listening(tmp_path, push_token: AdminToken | None = None) -> AsyncIterator[Rig]:
    pair = server_pair(SIGNER)
    (tmp_path / "tls.pem").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.private_key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    trusting = ssl.create_default_context(cadata=SIGNER.certificate.decode())
    async with reading() as (issuer, reader):
        sink, metrics = Sink(), EventMetrics(registry := CollectorRegistry())
        means = EventMeans(lambda: reader, sink, issuer.clock, metrics, push_token)
        listener = EventListener(ListenAddress.parse("127.0.0.1:0"), serving, means)
        await listener.start()
        connector = aiohttp.TCPConnector(ssl=trusting)
        try:
            async with aiohttp.ClientSession(f"https://127.0.0.1:{listener.port}", connector=connector) as client:
                yield Rig(issuer, sink, client, registry, listener.port)
        finally:
            await listener.stop()


async def test_logout_is_200_once_it_is_written(tmp_path):
    async with listening(tmp_path) as rig:
        answer = await rig.logout(logout_token(rig.issuer))
        assert (answer.status, await answer.text(), answer.headers["Cache-Control"]) == (200, "", "no-store")
        assert [event.ended for event in rig.sink.events] == [(EndedTokens("sub", "user-1", NOW),)]


async def test_security_event_is_202_and_empty_once_it_is_written(tmp_path):
    async with listening(tmp_path) as rig:
        answer = await rig.push(security_event(rig.issuer))
        assert (answer.status, await answer.text()) == (202, "")
        assert len(rig.sink.events) == 1


async def test_event_that_cannot_be_written_is_503_with_a_time(tmp_path):
    async with listening(tmp_path) as rig:
        rig.sink.is_away = True
        for answer in (await rig.logout(logout_token(rig.issuer)), await rig.push(security_event(rig.issuer))):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_unknown_event_type_is_202_and_nothing_is_written(tmp_path):
    async with listening(tmp_path) as rig:
        rig.sink.is_away = True
        assert (await rig.push(security_event(rig.issuer, f"{CAEP}session-presented"))).status == 202


async def test_refusals_have_the_body_of_their_specification(tmp_path):
    async with listening(tmp_path) as rig:
        logout = await rig.logout(logout_token(rig.issuer, aud="https://other.example.test"))
        pushed = await rig.push(security_event(rig.issuer, iss="https://other.example.test"))
        assert (logout.status, (await logout.json())["error"]) == (400, "invalid_audience")
        assert (pushed.status, (await pushed.json())["err"]) == (400, "invalid_issuer")
        assert set(await pushed.json()) == {"err", "description"}
        assert rig.sink.events == []


async def test_form_with_two_tokens_or_none_is_refused(tmp_path):
    async with listening(tmp_path) as rig:
        token = logout_token(rig.issuer)
        assert [(await rig.logout(*tokens)).status for tokens in ((), (token, token))] == [400, 400]


async def test_body_of_another_kind_or_size_is_refused(tmp_path):
    async with listening(tmp_path) as rig:
        good = security_event(rig.issuer)
        answers = [
            await rig.push(good, **{"Content-Type": "application/jwt"}),
            await rig.push(good, **{"Content-Encoding": "gzip"}),
            await rig.push("a" * (MAX_BODY_BYTES + 1)),
            await rig.push("\N{LATIN SMALL LETTER E WITH ACUTE}"),
            await rig.push(""),
        ]
        assert [answer.status for answer in answers] == [400] * 5
        assert rig.sink.events == []


async def test_body_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extauthz.events.pages, "BODY_SECONDS", 0.2)
    never = asyncio.Event()

    async def half():
        yield b"abc"
        await never.wait()

    async with listening(tmp_path) as rig:
        answer = await rig.client.post(PUSH_PATH, data=half(), headers=SET)
        assert answer.status == 400


async def test_nothing_else_is_served(tmp_path):
    async with listening(tmp_path) as rig:
        statuses = [(await rig.client.get(path)).status for path in ("/", "/metrics", LOGOUT_PATH, PUSH_PATH)]
        assert statuses == [404, 404, 405, 405]


async def test_push_needs_the_agreed_token_where_there_is_one(tmp_path):
    agreed = "t" * 40
    path = tmp_path / "push"
    path.touch(mode=0o600)
    path.write_text(agreed)
    async with listening(tmp_path, AdminToken(str(path))) as rig:
        event = security_event(rig.issuer)
        refused = await rig.push(event)
        assert (refused.status, json.loads(await refused.text())["err"]) == (400, "authentication_failed")
        assert (await rig.push(event, Authorization=f"Bearer {agreed}")).status == 202
        for _ in range(FAILURES_PER_MINUTE):
            await rig.push(event, Authorization="Bearer guess")
        assert (await rig.push(event, Authorization=f"Bearer {agreed}")).status == 429


async def test_flood_of_bad_tokens_is_held_up_before_they_are_read(tmp_path):
    async with listening(tmp_path) as rig:
        for _ in range(FAILURES_PER_MINUTE):
            assert (await rig.push("x")).status == 400
        held_up = await rig.push(security_event(rig.issuer))
        assert held_up.status == 429
        assert int(held_up.headers["Retry-After"]) > 0
        assert rig.counted("push", "held_up") == 1
        assert rig.sink.events == []


async def test_plain_http_is_refused_off_loopback():
    async with reading() as (issuer, reader):
        means = EventMeans(lambda: reader, Sink(), issuer.clock, EventMetrics(CollectorRegistry()))
        with pytest.raises(ValueError, match="needs TLS"):
            EventListener(ListenAddress.parse("0.0.0.0:0"), None, means)


async def test_address_that_holds_its_share_of_connections_keeps_no_other_out(tmp_path):
    async with listening(tmp_path) as rig:
        crowd = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(MAX_PER_SENDER)]
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
            await rig.push(security_event(rig.issuer))
        assert rig.sink.events == []
        neighbour = aiohttp.TCPConnector(ssl=rig.client.connector._ssl, local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(f"https://127.0.0.1:{rig.port}", connector=neighbour) as other:
            answer = await other.post(PUSH_PATH, data=security_event(rig.issuer), headers=SET)
            assert answer.status == 202
        for _, writer in crowd:
            writer.close()
            await writer.wait_closed()


async def test_request_that_does_not_end_ends_its_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(extauthz.events.listener, "IDLE_SECONDS", 0.2)
    async with listening(tmp_path) as rig:
        trusting = ssl.create_default_context(cadata=SIGNER.certificate.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, ssl=trusting, server_hostname="127.0.0.1")
        writer.write(b"POST /security-events HTTP/1.1\r\nHost: loc")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_what_became_of_events_is_counted(tmp_path):
    async with listening(tmp_path) as rig:
        await rig.logout(logout_token(rig.issuer))
        await rig.logout(logout_token(rig.issuer, aud="https://other.example.test"))
        await rig.push(security_event(rig.issuer, f"{CAEP}session-presented"))
        rig.sink.is_away = True
        await rig.push(security_event(rig.issuer, jti="event-2"))
        assert [rig.counted("logout", name) for name in ("accepted", "invalid_audience", "held_up")] == [1, 1, 0]
        assert [rig.counted("push", name) for name in ("accepted", "postponed", "access_denied")] == [1, 1, 0]
        assert rig.registry.get_sample_value("tollhouse_events_unknown_types_total") == 1
