"""Builders of the cases on tokens that are called back, and on the receiver of logouts and security events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from extauthz.events.pages import LOGOUT_PATH, PUSH_PATH
from extauthz.events.service import EventService
from extauthz.tokens.revocation_feed import RevocationFeed
from extauthz.tokens.revocations import Kind, Revocation, forget_at
from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer
from helpers.cases.rig import ISSUER, CaseRig, Key
from helpers.dpop import malleated

Requests = AsyncIterator[Request | Before]
RECEIVER = "https://gate.example.test/events"
CAEP = "https://schemas.openid.net/secevent/caep/event-type"
LOGOUT = {"http://schemas.openid.net/event/backchannel-logout": {}}
CALLED_BACK = (
    ("providers.yaml", "providers:\n", "revocation: {}\nproviders:\n"),
    (
        "providers.yaml",
        "    leeway_seconds: 60\n",
        f"    leeway_seconds: 60\n    events: {{audiences: ['{RECEIVER}'], transports: [logout, push]}}\n",
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said.

    Attributes:
        status: Of HTTP.
        body: Empty, or a JSON object.
    """

    status: int
    body: bytes


Send = Callable[..., Awaitable[Answer]]


def feed_of(rig: CaseRig) -> RevocationFeed:
    """Return the list of the running service."""
    (feed,) = (part for part in rig.service._parts.background if isinstance(part, RevocationFeed))
    return feed


async def revoke(rig: CaseRig, kind: Kind, value: str) -> None:
    """Write an entry as an operator does."""
    entry = Revocation(kind, ISSUER, value, rig.clock.wall(), forget_at(rig.clock.wall()))
    await feed_of(rig).revoke([entry], rig.clock.monotonic() + 5.0)


@asynccontextmanager
async def receiver(rig: CaseRig) -> AsyncIterator[Send]:
    """Connect to the events listener of the service; the block gets what sends a token to the path of its kind."""
    (events,) = (part for part in rig.service._parts.background if isinstance(part, EventService))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{events.port}") as client:

        async def send(token: str, *, is_logout: bool = False) -> Answer:
            if is_logout:
                sending = client.post(LOGOUT_PATH, data={"logout_token": token})
            else:
                sending = client.post(PUSH_PATH, data=token, headers={"Content-Type": "application/secevent+jwt"})
            async with sending as response:
                return Answer(response.status, await response.read())

        yield send


def security_event(rig: CaseRig, name: str = "session-revoked", key: Key | None = None, **claims: Any) -> str:
    """Return a SET on the subject of the cases' tokens."""
    event = {"change_direction": "decrease"} if name == "assurance-level-change" else {}
    common = {
        "iss": ISSUER,
        "aud": RECEIVER,
        "iat": int(rig.clock.wall()),
        "jti": "event-1",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "payer-1"},
        "events": {f"{CAEP}/{name}": event},
    }
    return (key or rig.key).mint({**common, **claims}, typ="secevent+jwt")


def logout_token(rig: CaseRig, **claims: Any) -> str:
    """Return a logout token; None takes a claim off."""
    now = int(rig.clock.wall())
    common = {"iss": ISSUER, "aud": RECEIVER, "iat": now, "exp": now + 120, "jti": "logout-1", "events": LOGOUT}
    members = {**common, "sub": "payer-1", **claims}
    return rig.key.mint({name: value for name, value in members.items() if value is not None}, typ="logout+jwt")


@builds("J35", policy=CALLED_BACK)
async def other_text_of_a_revoked_token(rig: CaseRig) -> Requests:
    token = rig.token(jti="called-back")
    yield Before(bearer(malleated(token)))
    yield Before(bearer(token))
    await revoke(rig, "jti", "called-back")
    yield bearer(token)
    yield bearer(malleated(token))


@builds("revoked-before-expiry", policy=CALLED_BACK)
async def warm_token_on_the_list(rig: CaseRig) -> Requests:
    by_name, by_subject = rig.token(jti="called-back"), rig.token(jti="token-2", sub="payer-2")
    for token in (by_name, by_subject):
        yield Before(bearer(token))
    await revoke(rig, "jti", "called-back")
    await revoke(rig, "sub", "payer-2")
    yield bearer(by_name)
    yield bearer(by_subject)


@builds("V02", policy=CALLED_BACK)
async def token_of_before_the_event(rig: CaseRig) -> Requests:
    token = rig.token(iat=int(rig.clock.wall()) - 5)
    yield Before(bearer(token))
    async with receiver(rig) as send:
        assert (await send(security_event(rig))).status == 202
    yield bearer(token)


@builds("V03", policy=CALLED_BACK)
async def token_of_after_the_event(rig: CaseRig) -> Requests:
    now = int(rig.clock.wall())
    async with receiver(rig) as send:
        assert (
            await send(security_event(rig, events={f"{CAEP}/session-revoked": {"event_timestamp": now - 5}}))
        ).status == 202
    assert feed_of(rig).entries == 1
    yield bearer(rig.token(iat=now - 4))


@builds("V09", policy=CALLED_BACK)
async def level_that_fell(rig: CaseRig) -> Requests:
    token = rig.token(iat=int(rig.clock.wall()) - 5, acr="urn:sca", auth_time=int(rig.clock.wall()) - 5)
    yield Before(bearer(token, path="/v1/stepped-up"))
    async with receiver(rig) as send:
        assert (await send(security_event(rig, "assurance-level-change"))).status == 202
    yield Before(bearer(token))
    yield bearer(token, path="/v1/stepped-up")


async def good_event(rig: CaseRig, send: Send) -> list[Answer]:
    return [await send(security_event(rig))]


async def events_of_others(rig: CaseRig, send: Send) -> list[Answer]:
    foreign = await send(security_event(rig, aud="https://other.example.test"))
    forged = await send(security_event(rig, key=Key("ES256", rig.key.kid)))
    assert feed_of(rig).entries == 0
    return [foreign, forged]


async def event_sent_again(rig: CaseRig, send: Send) -> list[Answer]:
    event = security_event(rig)
    first = await send(event)
    rig.clock.advance(5.0)
    again = await send(event)
    assert feed_of(rig).entries == 1
    return [first, again]


async def bad_logouts(rig: CaseRig, send: Send) -> list[Answer]:
    other_event = {f"{CAEP}/session-revoked": {}}
    bad = [{"nonce": "n"}, {"events": other_event}, {"events": {}}, {"sub": None}]
    answers = [await send(logout_token(rig, **claims), is_logout=True) for claims in bad]
    assert feed_of(rig).entries == 0
    assert (await send(logout_token(rig), is_logout=True)).status == 200
    return answers


RECEIVED = {"V04": good_event, "V05": events_of_others, "V06": event_sent_again, "V07": bad_logouts}
"""Case id to what sends its events; the receiver answers these, not the gate."""
