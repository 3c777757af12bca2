"""The list of revocations: one behaviour in memory, in Valkey and in Redis."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreUnavailable
from extauthz.tokens.revocations import (
    MAX_AT_ONCE,
    REMEMBERED_SECONDS,
    MemoryRevocations,
    Place,
    Revocation,
    forget_at,
)
from extauthz.tokens.store_revocations import StoreRevocations
from helpers.clock import FakeClock
from helpers.counter_stores import STORES
from helpers.valkey import administrator, running

CLOCK = SystemClock()
ISSUER = "https://issuer.example.test"


def soon() -> float:
    return CLOCK.monotonic() + 5.0


def entry(value, kind="jti", *, not_before=0.0, issuer=ISSUER, ends_in=REMEMBERED_SECONDS):
    return Revocation(kind, issuer, value, not_before, CLOCK.wall() + ends_in)


@asynccontextmanager
async def two_replicas(kind, max_entries=1000):
    """Two writers of one list; in memory there is one."""
    if kind == "memory":
        store = MemoryRevocations(CLOCK, max_entries)
        yield store, store
        return
    async with running(kind) as server:
        one, other = (StoreRevocations.from_url(server.url, CLOCK, max_entries=max_entries) for _ in range(2))
        await one.start()
        await other.start()
        try:
            yield one, other
        finally:
            await one.stop()
            await other.stop()


async def whole(store):
    """Return the list and where it ended."""
    entries, place, is_last = [], Place(), False
    while not is_last:
        page = await store.read(place, soon())
        entries.extend(page.entries)
        place, is_last = page.place, page.is_last
    return entries, place


@pytest.mark.parametrize("kind", STORES)
async def test_what_one_writes_the_other_reads_once(kind):
    async with two_replicas(kind) as (one, other):
        entries, place = await whole(other)
        assert entries == []
        written = [entry("a"), entry("b", "sid"), entry('c"\n\u00e9', "sub", not_before=1_700_000_000.123456)]
        await one.revoke(written, soon())
        page = await other.read(place, soon())
        assert list(page.entries) == written
        assert (page.is_last, page.is_from_start) == (True, False)
        assert (await other.read(page.place, soon())).entries == ()
        assert (await whole(one))[0] == written


@pytest.mark.parametrize("kind", STORES)
async def test_again_changes_nothing_and_the_later_times_stay(kind):
    async with two_replicas(kind) as (one, other):
        first = entry("s", "sub", not_before=200.5)
        await one.revoke([first], soon())
        _, place = await whole(other)
        earlier = first._replace(not_before=100.0, expires_at=first.expires_at - 60)
        await other.revoke([earlier], soon())
        assert (await whole(one))[0] == [first]
        later = first._replace(not_before=300.25, expires_at=first.expires_at - 60)
        await other.revoke([later], soon())
        merged = first._replace(not_before=300.25)
        assert list((await one.read(place, soon())).entries) == [merged]
        assert (await whole(one))[0] == [merged]


@pytest.mark.parametrize("kind", STORES)
async def test_an_event_is_written_once_whichever_replica_hears_it(kind):
    async with two_replicas(kind) as (one, other):
        assert await one.accept([entry("a")], ISSUER, "event-1", soon())
        assert not await other.accept([entry("z")], ISSUER, "event-1", soon())
        assert await other.accept([entry("b")], ISSUER, "event-2", soon())
        assert await other.accept([entry("c")], "https://other.example.test", "event-1", soon())
        assert [found.value for found in (await whole(one))[0]] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", STORES)
async def test_full_list_refuses_all_of_a_write_and_marks_no_event(kind):
    async with two_replicas(kind, max_entries=3) as (one, other):
        await one.revoke([entry("a"), entry("b")], soon())
        with pytest.raises(StoreUnavailable):
            await other.accept([entry("c"), entry("d")], ISSUER, "event", soon())
        assert [found.value for found in (await whole(one))[0]] == ["a", "b"]
        assert await other.accept([entry("c"), entry("a"), entry("c")], ISSUER, "event", soon())
        await one.revoke([entry("a"), entry("c")], soon())
        assert {found.value for found in (await whole(one))[0]} == {"a", "b", "c"}


@pytest.mark.parametrize("kind", STORES)
async def test_more_than_fits_one_write_is_refused(kind):
    async with two_replicas(kind) as (one, _):
        with pytest.raises(StoreUnavailable):
            await one.revoke([entry(str(number)) for number in range(MAX_AT_ONCE + 1)], soon())
        assert (await whole(one))[0] == []


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind != "memory"])
async def test_long_list_comes_in_parts_and_none_is_left_out(kind):
    async with two_replicas(kind, max_entries=5000) as (one, other):
        for first in range(0, 1300, MAX_AT_ONCE):
            await one.revoke([entry(str(number)) for number in range(first, first + MAX_AT_ONCE)], soon())
        first_part = await other.read(Place(), soon())
        assert not first_part.is_last
        entries, _ = await whole(other)
        assert [int(found.value) for found in entries] == list(range(1300))


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind != "memory"])
async def test_emptied_store_is_read_from_its_start(kind):
    async with running(kind) as server, administrator(server.url) as admin:
        store = StoreRevocations.from_url(server.url, CLOCK)
        await store.start()
        try:
            await store.revoke([entry("a")], soon())
            _, place = await whole(store)
            await admin.flushall()
            page = await store.read(place, soon())
            assert page.is_from_start
            assert 0 <= page.age_seconds < 60
            await admin.hincrby("tollhouse:{revoked}:list", "born", -1000)
            assert 1000 <= (await store.read(page.place, soon())).age_seconds < 1060
            assert page.place.list_id != place.list_id
            # A backup that comes back ends before what was read.
            _, place = await whole(store)
            assert (await store.read(place._replace(position=place.position + 1), soon())).is_from_start
        finally:
            await store.stop()


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind != "memory"])
async def test_ended_entries_leave_the_store_with_the_next_write(kind):
    async with running(kind) as server, administrator(server.url) as admin:
        store = StoreRevocations.from_url(server.url, CLOCK)
        await store.start()
        try:
            await store.revoke([entry("long ago", ends_in=-7200), entry("just ended", ends_in=-60)], soon())
            await store.accept([entry("new")], ISSUER, "event", soon())
            assert [found.value for found in (await whole(store))[0]] == ["just ended", "new"]
            assert await admin.zcard("tollhouse:{revoked}:ends") == 2
            assert await admin.hlen("tollhouse:{revoked}:entries") == 2
            (mark,) = await admin.keys("tollhouse:{revoked}:event:*")
            assert b"event-" not in mark
            assert 0 < await admin.pttl(mark) <= REMEMBERED_SECONDS * 1000
        finally:
            await store.stop()


@pytest.mark.parametrize("value", ["", "1", "nan 1", "1 inf", "1 2 3"])
async def test_what_is_not_of_our_making_is_no_answer(value):
    async with running() as server, administrator(server.url) as admin:
        store = StoreRevocations.from_url(server.url, CLOCK)
        await store.start()
        try:
            await store.revoke([entry("a")], soon())
            await admin.hset("tollhouse:{revoked}:entries", f'["jti","{ISSUER}","a"]', value)
            with pytest.raises(StoreUnavailable):
                await store.read(Place(), soon())
        finally:
            await store.stop()


async def test_store_that_is_away_or_late_gives_no_answer():
    async with running() as server:
        store = StoreRevocations.from_url(server.url, CLOCK)
        with pytest.raises(StoreUnavailable):
            await store.revoke([entry("a")], soon())  # not started
        await store.start()
        with pytest.raises(StoreUnavailable):
            await store.read(Place(), CLOCK.monotonic() - 1)
        await store.stop()
    with pytest.raises(StoreUnavailable):
        await MemoryRevocations(CLOCK).revoke([entry("a")], CLOCK.monotonic() - 1)


async def test_memory_forgets_what_has_ended():
    clock = FakeClock()
    store = MemoryRevocations(clock)
    later = clock.monotonic() + 10 * REMEMBERED_SECONDS
    await store.accept([Revocation("jti", ISSUER, "a", 0, forget_at(clock.wall()))], ISSUER, "event", later)
    clock.advance(REMEMBERED_SECONDS - 1)
    assert len((await store.read(Place(), later)).entries) == 1
    clock.advance(1)
    assert (await store.read(Place(), later)).entries == ()
    assert await store.accept([], ISSUER, "event", later)


def test_entry_outlives_every_token_that_it_can_hit():
    assert forget_at(1000.0) == 1000.0 + REMEMBERED_SECONDS
    assert forget_at(1000.0, 5000.0) == 5000.0 + REMEMBERED_SECONDS
