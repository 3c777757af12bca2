"""What an event writes into the list of revoked tokens, and what is said when that fails."""

from __future__ import annotations

import math

import pytest

from extauthz.events.model import EndedTokens, ReceivedEvent
from extauthz.events.pages import EventNotWritten
from extauthz.events.sink import RevocationSink
from extauthz.tokens.revocations import MemoryRevocations, Place, Revocation, forget_at
from helpers.clock import FakeClock

ISSUER = "https://login.example.test"
NOW = 1_800_000_000.0


def event(jti: str, *ended: EndedTokens) -> ReceivedEvent:
    return ReceivedEvent(ISSUER, jti, ended)


@pytest.fixture
def clock():
    return FakeClock(NOW)


async def entries(store):
    return set((await store.read(Place(), math.inf)).entries)


async def test_each_kind_is_an_entry_and_a_subject_has_its_time(clock):
    store = MemoryRevocations(clock)
    ended = [EndedTokens("jti", "t-1", NOW), EndedTokens("sid", "s-1", NOW), EndedTokens("sub", "alice", NOW - 60)]
    assert await RevocationSink(store, clock).accept(event("e-1", *ended), math.inf)
    assert await entries(store) == {
        Revocation("jti", ISSUER, "t-1", 0.0, forget_at(NOW)),
        Revocation("sid", ISSUER, "s-1", 0.0, forget_at(NOW)),
        Revocation("sub", ISSUER, "alice", NOW - 60, forget_at(NOW)),
    }


async def test_event_that_comes_again_is_known(clock):
    store = MemoryRevocations(clock)
    sink = RevocationSink(store, clock)
    again = event("e-1", EndedTokens("sid", "s-1", NOW))
    assert [await sink.accept(again, math.inf), await sink.accept(again, math.inf)] == [True, False]


async def test_event_that_was_not_written_can_be_sent_again(clock):
    full = MemoryRevocations(clock, max_entries=1)
    sink = RevocationSink(full, clock)
    both = event("e-1", EndedTokens("sid", "s-1", NOW), EndedTokens("sid", "s-2", NOW))
    with pytest.raises(EventNotWritten):
        await sink.accept(both, math.inf)
    assert await entries(full) == set()
    assert await sink.accept(event("e-1", EndedTokens("sid", "s-1", NOW)), math.inf)


async def test_late_write_is_no_write(clock):
    store = MemoryRevocations(clock)
    with pytest.raises(EventNotWritten):
        await RevocationSink(store, clock).accept(event("e-1", EndedTokens("sid", "s-1", NOW)), clock.monotonic())
    assert await entries(store) == set()
