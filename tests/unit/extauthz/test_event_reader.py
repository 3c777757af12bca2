"""Logout tokens and security event tokens: what they end, and which are not believed."""

from __future__ import annotations

import json

import pytest

from extauthz.events.model import EndedTokens, EventFault, EventRefused, ReceivedEvent
from extauthz.model import Deny, Unavailable
from helpers.events import CAEP, RECEIVER, RISC, logout_token, reading, security_event
from helpers.issuer import NOW, SigningKey, b64
from helpers.token_rig import TokenRig

STRANGER = SigningKey("ES256")


def deadline(rig: TokenRig) -> float:
    return rig.clock.monotonic() + 5.0


@pytest.mark.parametrize(
    ("claims", "ended"),
    [
        pytest.param({}, EndedTokens("sub", "user-1", NOW), id="a subject alone ends all its tokens until then"),
        pytest.param({"sub": None, "sid": "s-1"}, EndedTokens("sid", "s-1", NOW), id="a session alone ends it"),
        pytest.param({"sid": "s-1"}, EndedTokens("sid", "s-1", NOW), id="a session of a subject ends that session"),
    ],
)
async def test_logout_token_says_what_it_ends(claims, ended):
    async with reading() as (rig, reader):
        event = await reader.read_logout(logout_token(rig, **claims), deadline(rig))
        assert event == ReceivedEvent(rig.server.issuer, "event-1", (ended,))


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        pytest.param({"typ": "JWT"}, EventFault.INVALID_REQUEST, id="an ID token is no logout token"),
        pytest.param({"typ": "at+jwt"}, EventFault.INVALID_REQUEST, id="an access token is no logout token"),
        pytest.param({"typ": "secevent+jwt"}, EventFault.INVALID_REQUEST, id="a security event is no logout token"),
        pytest.param({"nonce": "n-1"}, EventFault.INVALID_REQUEST, id="a nonce is of an ID token"),
        pytest.param({"aud": "https://other.example.test"}, EventFault.INVALID_AUDIENCE, id="another receiver"),
        pytest.param({"aud": None}, EventFault.INVALID_AUDIENCE, id="no receiver"),
        pytest.param({"aud": [RECEIVER, 1]}, EventFault.INVALID_AUDIENCE, id="a receiver that is no text"),
        pytest.param({"iss": "https://other.example.test"}, EventFault.INVALID_ISSUER, id="an unknown issuer"),
        pytest.param({"iss": None}, EventFault.INVALID_ISSUER, id="no issuer"),
        pytest.param({"exp": NOW - 61}, EventFault.INVALID_REQUEST, id="exp has passed"),
        pytest.param({"exp": None}, EventFault.INVALID_REQUEST, id="no exp"),
        pytest.param({"iat": NOW + 61}, EventFault.INVALID_REQUEST, id="iat lies ahead"),
        pytest.param({"iat": None}, EventFault.INVALID_REQUEST, id="no iat"),
        pytest.param({"jti": None}, EventFault.INVALID_REQUEST, id="no jti"),
        pytest.param({"jti": "j" * 513}, EventFault.INVALID_REQUEST, id="a jti that is too long"),
        pytest.param({"events": None}, EventFault.INVALID_REQUEST, id="no events"),
        pytest.param({"events": {f"{CAEP}session-revoked": {}}}, EventFault.INVALID_REQUEST, id="another event"),
        pytest.param({"sub": None}, EventFault.INVALID_REQUEST, id="neither subject nor session"),
        pytest.param({"sid": ""}, EventFault.INVALID_REQUEST, id="a session without name beside a subject"),
        pytest.param({"key": STRANGER}, EventFault.INVALID_KEY, id="signed by somebody else"),
        pytest.param({"key": SigningKey("ES256", "k9")}, EventFault.INVALID_KEY, id="a key the issuer does not list"),
    ],
)
async def test_logout_token_that_is_not_right_ends_nothing(claims, fault):
    async with reading() as (rig, reader):
        refused = await reader.read_logout(logout_token(rig, **claims), deadline(rig))
        assert isinstance(refused, EventRefused)
        assert refused.fault is fault


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b.c", "é.b.c", "a" * 20_000, f"{b64(json.dumps({'alg': 'none', 'typ': 'logout+jwt'}).encode())}.e30."],
    ids=["empty", "no parts", "no base64", "not ascii", "too long", "alg none without a signature"],
)
async def test_garbage_is_refused_without_a_fetch(text):
    async with reading() as (rig, reader):
        for read in (reader.read_logout, reader.read_set):
            refused = await read(text, deadline(rig))
            assert isinstance(refused, EventRefused)
            assert refused.fault is EventFault.INVALID_REQUEST
        assert rig.server.metadata_fetches == 0


async def test_alg_none_with_a_signature_is_refused_without_a_fetch():
    async with reading() as (rig, reader):
        _, claims, signature = logout_token(rig).split(".")
        header = b64(json.dumps({"alg": "none", "typ": "logout+jwt"}).encode())
        refused = await reader.read_logout(f"{header}.{claims}.{signature}", deadline(rig))
        assert refused == EventRefused(EventFault.INVALID_KEY, "alg not accepted")
        assert rig.server.metadata_fetches == 0


async def test_unknown_issuer_is_refused_without_a_fetch():
    async with reading() as (rig, reader):
        await reader.read_set(security_event(rig, iss="https://other.example.test"), deadline(rig))
        assert rig.server.metadata_fetches == 0


async def test_issuer_that_is_away_gives_no_verdict():
    async with reading() as (rig, reader):
        rig.server.status = 500
        assert isinstance(await reader.read_logout(logout_token(rig), deadline(rig)), Unavailable)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{CAEP}{end}" for end in ("session-revoked", "credential-change", "token-claims-change")),
        *(f"{RISC}account-{end}" for end in ("disabled", "purged", "credential-change-required")),
        *(f"{RISC}{end}" for end in ("credential-compromise", "sessions-revoked")),
    ],
)
async def test_security_event_ends_the_tokens_of_its_subject(name):
    async with reading() as (rig, reader):
        event = await reader.read_set(security_event(rig, name), deadline(rig))
        assert event == ReceivedEvent(rig.server.issuer, "event-1", (EndedTokens("sub", "user-1", NOW),))


@pytest.mark.parametrize(
    ("subject", "ended"),
    [
        ({"format": "opaque", "id": "s-1"}, EndedTokens("sid", "s-1", NOW)),
        ({"format": "jwt_id", "iss": "OWN", "jti": "t-1"}, EndedTokens("jti", "t-1", NOW)),
        (
            {
                "format": "complex",
                "user": {"format": "iss_sub", "iss": "OWN", "sub": "user-1"},
                "session": {"format": "opaque", "id": "s-1"},
            },
            EndedTokens("sid", "s-1", NOW),
        ),
        ({"format": "iss_sub", "iss": "https://other.example.test", "sub": "user-1"}, None),
        ({"format": "jwt_id", "iss": "OWN", "jti": ["t-1"]}, None),
        ({"format": "email", "email": "someone@example.test"}, None),
        ({"format": "complex"}, None),
        ("user-1", None),
    ],
    ids=["opaque", "jwt_id", "complex", "of another issuer", "no text", "unknown format", "empty complex", "text"],
)
async def test_subject_is_read_or_the_event_is_refused(subject, ended):
    async with reading() as (rig, reader):
        text = json.loads(json.dumps(subject).replace("OWN", rig.server.issuer))
        event = await reader.read_set(security_event(rig, sub_id=text), deadline(rig))
        if ended is None:
            assert isinstance(event, EventRefused)
        else:
            assert event == ReceivedEvent(rig.server.issuer, "event-1", (ended,))


async def test_two_subjects_that_differ_are_refused():
    async with reading() as (rig, reader):
        events = {f"{CAEP}session-revoked": {"subject": {"format": "opaque", "id": "s-1"}}}
        assert isinstance(await reader.read_set(security_event(rig, events=events), deadline(rig)), EventRefused)


@pytest.mark.parametrize(("told", "ended_at"), [(NOW - 5, NOW - 5), (NOW + 1, None), ("then", None)])
async def test_time_of_an_event_is_never_after_it_was_told(told, ended_at):
    async with reading() as (rig, reader):
        events = {f"{CAEP}session-revoked": {"event_timestamp": told}}
        event = await reader.read_set(security_event(rig, events=events), deadline(rig))
        assert (event.ended[0].ended_at if isinstance(event, ReceivedEvent) else None) == ended_at


@pytest.mark.parametrize(
    ("event", "subject", "ended"),
    [
        ({"change_direction": "decrease"}, None, [("acr", "user-1")]),
        ({}, None, [("acr", "user-1")]),
        ({"change_direction": "increase"}, None, []),
        ({"change_direction": "decrease"}, {"format": "opaque", "id": "s-1"}, [("sid", "s-1")]),
        ({"change_direction": "decrease"}, {"format": "email"}, None),
    ],
    ids=["fell", "went somewhere", "rose", "of a session", "of nobody known"],
)
async def test_level_that_fell_is_told_from_one_that_rose(event, subject, ended):
    async with reading() as (rig, reader):
        whose = {} if subject is None else {"sub_id": subject}
        text = security_event(rig, events={f"{CAEP}assurance-level-change": event}, **whose)
        answer = await reader.read_set(text, deadline(rig))
        if ended is None:
            assert isinstance(answer, EventRefused)
        else:
            assert isinstance(answer, ReceivedEvent)
            assert [(each.kind, each.value) for each in answer.ended] == ended
            assert answer.unknown_types == 0


async def test_unknown_event_type_is_taken_and_ends_nothing():
    async with reading() as (rig, reader):
        event = await reader.read_set(security_event(rig, f"{CAEP}session-presented"), deadline(rig))
        assert event == ReceivedEvent(rig.server.issuer, "event-1", (), unknown_types=1)


async def test_events_are_no_access_tokens():
    async with reading() as (rig, _):
        for text in (logout_token(rig), security_event(rig)):
            assert isinstance(await rig.authenticate(text), Deny)


SESSION, SUBJECT = EndedTokens("sid", "s-1", NOW), EndedTokens("sub", "user-1", NOW)


@pytest.mark.parametrize(
    ("ends", "claims", "ended"),
    [
        ("sid", {"sid": "s-1"}, (SESSION,)),
        ("sid", {}, (SUBJECT,)),
        ("sub", {"sid": "s-1"}, (SUBJECT,)),
        ("sub", {"sid": "s-1", "sub": None}, None),
        ("both", {"sid": "s-1"}, (SESSION, SUBJECT)),
        ("both", {"sid": "s-1", "sub": None}, (SESSION,)),
        ("both", {}, (SUBJECT,)),
    ],
)
async def test_policy_says_whether_a_session_or_its_subject_is_ended(ends, claims, ended):
    async with reading(ends) as (rig, reader):
        event = await reader.read_logout(logout_token(rig, **claims), deadline(rig))
        if ended is None:
            assert isinstance(event, EventRefused)
        else:
            assert event == ReceivedEvent(rig.server.issuer, "event-1", ended)
        members = {
            "session": {"format": "opaque", "id": claims.get("sid")},
            "user": {"format": "iss_sub", "iss": rig.server.issuer, "sub": claims.get("sub", "user-1")},
        }
        known = {name: member for name, member in members.items() if None not in member.values()}
        pushed = await reader.read_set(security_event(rig, sub_id={"format": "complex", **known}), deadline(rig))
        assert isinstance(pushed, EventRefused) if ended is None else pushed == event


async def test_issuer_is_heard_by_the_ways_that_policy_names():
    async with reading(transports=frozenset({"push"})) as (rig, reader):
        refused = await reader.read_logout(logout_token(rig), deadline(rig))
        assert isinstance(refused, EventRefused)
        assert refused.fault is EventFault.ACCESS_DENIED
        assert isinstance(await reader.read_set(security_event(rig), deadline(rig)), ReceivedEvent)
