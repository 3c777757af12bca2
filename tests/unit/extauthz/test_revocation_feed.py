"""The list of revocations in memory: what it refuses, how it keeps up, and what no trouble of the store can undo."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreUnavailable, Unavailability
from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens.revocation_feed import FeedPace, RevocationFeed, RevocationRules
from extauthz.tokens.revocations import MAX_AT_ONCE, MemoryRevocations, Place, Revocation, forget_at
from helpers.clock import FakeClock
from helpers.waiting import until

ISSUER = "https://issuer.example.test"
CLOCK = SystemClock()
PACE = FeedPace(every_seconds=0.001, answer_seconds=1.0, reread_seconds=0.05)


def caller(*, issuer=ISSUER, subject="alice", issued_at=1000.0, **claims):
    return Principal(issuer, subject, "shop", frozenset(), MappingProxyType(claims), issued_at, issued_at + 600)


def entry(value, kind="jti", *, not_before=0.0, issuer=ISSUER, clock=CLOCK):
    return Revocation(kind, issuer, value, not_before, forget_at(clock.wall()))


class SwitchedStore(MemoryRevocations):
    """A list in memory that can be away, emptied, or seen as somebody else's."""

    def __init__(self, clock=CLOCK, max_entries=1000):
        super().__init__(clock, max_entries)
        self.fault = None
        self.reads = 0
        self.name = "one"
        self.age_seconds = 1e6

    def empty(self):
        self._entries.clear()
        self.name += "+"

    async def read(self, place, deadline):
        self.reads += 1
        if self.fault is not None:
            raise self.fault if isinstance(self.fault, Exception) else StoreUnavailable(self.fault)
        is_same = place.list_id == self.name
        page = await super().read(place if is_same else Place(), deadline)
        return page._replace(
            place=page.place._replace(list_id=self.name), is_from_start=not is_same, age_seconds=self.age_seconds
        )


@asynccontextmanager
async def following(store, clock=CLOCK, max_entries=1000, pace=PACE, *, is_needed=True):
    feed = RevocationFeed(store, clock, max_entries, pace)
    feed.need(is_needed=is_needed)
    await feed.start()
    try:
        if is_needed and store.fault is None:
            await until(lambda: feed.is_loaded)
        yield feed
    finally:
        await feed.stop()


@pytest.mark.parametrize(
    ("what", "hit", "missed"),
    [
        (
            entry("t1"),
            caller(jti="t1"),
            [caller(jti="t2"), caller(jti="t1", issuer="https://b.test")],
        ),
        (entry("s1", "sid"), caller(jti="t", sid="s1"), [caller(jti="t", sid="s2"), caller(jti="s1"), caller()]),
        (entry("t1"), caller(jti="t1", sid=["s"]), [caller(jti=["t1"]), caller(jti={"t1": 1}), caller(jti=None)]),
    ],
)
async def test_entry_hits_its_claim_of_its_issuer_alone(what, hit, missed):
    async with following(SwitchedStore()) as feed:
        assert not feed.is_revoked(hit)
        await feed.revoke([what], CLOCK.monotonic() + 5)
        assert feed.is_revoked(hit)
        assert not any(feed.is_revoked(other) for other in missed)


@pytest.mark.parametrize(("issued_at", "is_hit"), [(999.0, True), (1000.0, True), (1000.5, True), (1001.0, False)])
async def test_subject_is_refused_what_was_issued_up_to_then(issued_at, is_hit):
    async with following(SwitchedStore()) as feed:
        await feed.revoke([entry("alice", "sub", not_before=1000.5)], CLOCK.monotonic() + 5)
        assert feed.is_revoked(caller(issued_at=issued_at)) is is_hit
        assert not feed.is_revoked(caller(issued_at=issued_at, subject="bob"))


@pytest.mark.parametrize(
    ("act", "is_hit"),
    [
        ({"sub": "gateway"}, True),
        ({"sub": "gateway", "iss": ISSUER}, True),
        ({"sub": "gateway", "iss": "https://b.test"}, False),
        ({"sub": "other", "act": {"sub": "gateway"}}, False),
        ({"sub": ["gateway"]}, False),
        ({"sub": "gateway", "iss": 7}, False),
        ("gateway", False),
    ],
)
async def test_actor_whose_tokens_were_ended_acts_for_nobody(act, is_hit):
    async with following(SwitchedStore()) as feed:
        await feed.revoke([entry("gateway", "sub", not_before=1000.0)], CLOCK.monotonic() + 1)
        assert feed.is_revoked(caller(act=act)) is is_hit
        assert not feed.is_revoked(caller(act=act, issued_at=1001.0))


async def test_what_another_replica_writes_is_in_force_here():
    store = SwitchedStore()
    async with following(store) as one, following(store) as other:
        assert await one.accept([entry("t1")], ISSUER, "event", CLOCK.monotonic() + 5)
        assert one.is_revoked(caller(jti="t1"))
        await until(lambda: other.is_revoked(caller(jti="t1")))
        assert not await other.accept([entry("t1")], ISSUER, "event", CLOCK.monotonic() + 5)


async def test_emptied_store_gets_its_entries_back_and_nothing_is_taken_back():
    store = SwitchedStore()
    async with following(store) as feed:
        many = [entry(f"t{number}") for number in range(MAX_AT_ONCE + 20)]
        await feed.revoke(many[:MAX_AT_ONCE], CLOCK.monotonic() + 5)
        await feed.revoke(many[MAX_AT_ONCE:], CLOCK.monotonic() + 5)
        await until(lambda: len(store._entries) == len(many))
        reads = store.reads
        await until(lambda: store.reads > reads + 5)
        assert feed.losses == 0
        store.empty()
        await until(lambda: len(store._entries) == len(many))
        assert feed.is_revoked(caller(jti="t7"))
        assert feed.losses >= 1


async def test_entry_that_vanishes_from_the_same_list_is_written_back():
    store = SwitchedStore()
    async with following(store) as feed:
        await feed.revoke([entry("t1"), entry("t2")], CLOCK.monotonic() + 5)
        del store._entries[("jti", ISSUER, "t1")]
        await until(lambda: ("jti", ISSUER, "t1") in store._entries)
        assert feed.losses == 1


async def test_silent_store_makes_the_list_old_and_never_empty():
    clock = FakeClock()
    store = SwitchedStore(clock)
    async with following(store, clock) as feed:
        await feed.revoke([entry("t1", clock=clock)], clock.monotonic() + 5)
        rules = RevocationRules(feed, 5.0, refuses_all_when_stale=False)
        strict = RevocationRules(feed, 5.0, refuses_all_when_stale=True)
        good, bad = caller(jti="good"), caller(jti="t1")
        assert rules.confirm(good, moves_money=True) is good
        store.fault = Unavailability.LOST
        await until(feed.warnings)
        clock.advance(5.0)
        assert rules.confirm(good, moves_money=True) is good
        clock.advance(0.1)
        refusal = rules.confirm(good, moves_money=True)
        assert isinstance(refusal, Unavailable)
        assert refusal.reason is Reason.REVOCATION_UNAVAILABLE
        assert refusal.retry_after_seconds > 0
        assert rules.confirm(good, moves_money=False) is good
        assert isinstance(strict.confirm(good, moves_money=False), Unavailable)
        for moves_money in (True, False):
            known = rules.confirm(bad, moves_money=moves_money)
            assert isinstance(known, Deny)
            assert known.reason is Reason.TOKEN_REVOKED
            assert known.challenge.error == "invalid_token"
        store.fault = None
        await until(lambda: feed.staleness_seconds() < 1)
        assert rules.confirm(good, moves_money=True) is good
        assert feed.warnings() == ()


async def test_fault_of_our_own_makes_the_list_old_until_it_is_over():
    clock = FakeClock()
    store = SwitchedStore(clock)
    async with following(store, clock) as feed:
        store.fault = KeyError("value of somebody")
        await until(feed.warnings)
        assert feed.warnings() == ("revocations: a fault of the gate (KeyError)",)
        clock.advance(6.0)
        rules = RevocationRules(feed, 5.0, refuses_all_when_stale=False)
        assert isinstance(rules.confirm(caller(jti="good"), moves_money=True), Unavailable)
        store.fault = None
        await until(lambda: feed.staleness_seconds() < 1)
        assert feed.warnings() == ()


async def test_nothing_passes_and_nobody_is_ready_before_the_list_was_read():
    store = SwitchedStore()
    store.fault = Unavailability.NOT_CONNECTED
    async with following(store) as feed:
        await until(lambda: store.reads > 2)
        rules = RevocationRules(feed, 5.0, refuses_all_when_stale=False)
        assert feed.waiting_for()
        assert isinstance(rules.confirm(caller(), moves_money=False), Unavailable)
        store.fault = None
        await until(lambda: not feed.waiting_for())
        assert isinstance(rules.confirm(caller(), moves_money=True), Principal)


async def test_list_that_does_not_fit_makes_the_knowledge_old():
    store = SwitchedStore()
    await store.revoke([entry(str(number)) for number in range(11)], CLOCK.monotonic() + 5)
    feed = RevocationFeed(store, CLOCK, 10, PACE)
    feed.need(is_needed=True)
    await feed.start()
    try:
        await until(feed.warnings)
        assert not feed.is_loaded
    finally:
        await feed.stop()


async def test_nothing_is_asked_while_no_policy_needs_it():
    store = SwitchedStore()
    async with following(store, is_needed=False) as feed:
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.reads == 0
        assert feed.waiting_for() == ()
        feed.need(is_needed=True)
        await until(lambda: feed.is_loaded)


async def test_entry_is_forgotten_once_it_has_ended():
    clock = FakeClock()
    store = SwitchedStore(clock)
    async with following(store, clock) as feed:
        await feed.revoke([entry("t1", clock=clock)], clock.monotonic() + 5)
        clock.advance(86_400)
        reads = store.reads
        await until(lambda: store.reads > reads + 3)
        assert feed.entries == 1
        clock.advance(86_400)
        await until(lambda: feed.entries == 0)
        assert feed.losses == 0


async def test_young_list_is_not_believed_to_be_whole_by_a_replica_that_starts():
    store = SwitchedStore()
    async with following(store) as before:
        await before.revoke([entry("t1")], CLOCK.monotonic() + 5)
        store.age_seconds = 0.0
        newcomer = RevocationFeed(store, CLOCK, 10, PACE)
        newcomer.need(is_needed=True)
        await newcomer.start()
        try:
            await until(lambda: newcomer.is_revoked(caller(jti="t1")))
            reads = store.reads
            await until(lambda: store.reads > reads + 5)
            assert newcomer.waiting_for()
            assert before.staleness_seconds() < 1
            store.age_seconds = PACE.young_seconds
            await until(lambda: not newcomer.waiting_for())
        finally:
            await newcomer.stop()


async def test_lowered_assurance_takes_off_how_the_user_authenticated_and_no_more():
    async with following(SwitchedStore()) as feed:
        rules = RevocationRules(feed, 5.0, refuses_all_when_stale=False)
        old, new = (caller(jti="t", acr="urn:sca", issued_at=issued_at) for issued_at in (1000.0, 1001.0))
        assert rules.confirm(old, moves_money=True) is old
        await feed.revoke([entry("alice", "acr", not_before=1000.5)], CLOCK.monotonic() + 5)
        lowered = rules.confirm(old, moves_money=True)
        assert isinstance(lowered, Principal)
        assert (lowered.acr, dict(lowered.claims), lowered.subject) == ("", {"jti": "t"}, "alice")
        assert rules.confirm(new, moves_money=True) is new
        assert isinstance(rules.confirm(caller(subject="bob", acr="urn:sca"), moves_money=True), Principal)
        assert not feed.is_revoked(old)
