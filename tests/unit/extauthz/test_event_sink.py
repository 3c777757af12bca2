"""A believed event becomes entries, once; what could not be written is told to its sender."""

from __future__ import annotations

import pytest

from extauthz.events.model import EndedTokens, ReceivedEvent
from extauthz.events.pages import EventNotWritten
from extauthz.events.sink import RevocationSink
from extauthz.tokens.revocations import REMEMBERED_SECONDS, MemoryRevocations, Place
from helpers.clock import FakeClock

ISSUER = "https://issuer.example.test"
ENDED = (
    EndedTokens("sub", "alice", 1_699_999_990.5),
    EndedTokens("sid", "s-1", 1_699_999_990.5),
    EndedTokens("jti", "t-1", 1_699_999_990.5),
)


async def test_each_thing_that_an_event_ends_is_an_entry_of_its_issuer():
    clock = FakeClock()
    store = MemoryRevocations(clock)
    sink = RevocationSink(store, clock)
    for _ in range(2):
        await sink.accept(ReceivedEvent(ISSUER, "event-1", ENDED), clock.monotonic() + 1)
    entries = (await store.read(Place(), clock.monotonic() + 1)).entries
    assert [entry[:4] for entry in entries] == [
        ("sub", ISSUER, "alice", 1_699_999_990.5),
        ("sid", ISSUER, "s-1", 0.0),
        ("jti", ISSUER, "t-1", 0.0),
    ]
    assert {entry.expires_at for entry in entries} == {clock.wall() + REMEMBERED_SECONDS}


async def test_event_that_nobody_wrote_down_is_not_accepted():
    clock = FakeClock()
    event = ReceivedEvent(ISSUER, "event-1", ENDED)
    full = RevocationSink(MemoryRevocations(clock, max_entries=2), clock)
    with pytest.raises(EventNotWritten):
        await full.accept(event, clock.monotonic() + 1)
    with pytest.raises(EventNotWritten):
        await RevocationSink(MemoryRevocations(clock), clock).accept(event, clock.monotonic())
    with pytest.raises(EventNotWritten):
        await RevocationSink(None, clock).accept(event, clock.monotonic() + 1)
