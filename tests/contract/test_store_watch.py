"""A store that is emptied, evicts or is somebody's replica, seen from a link that watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import redis.asyncio

from chassis.clock import SystemClock
from chassis.store_link import StoreSettings, StoreUnavailable
from chassis.store_watch import ACCEPTANCES_KEY, EPOCH_KEY, StoreFacts, StoreWatch
from helpers.emptied_stores import accept_emptied
from helpers.valkey import SERVERS, administrator, running
from helpers.waiting import until
from ratelimit.ledger import Entry, Posting, PostResult, Status
from ratelimit.store_ledger import StoreLedger
from tollhouse.embedded_store import EmbeddedStore

CLOCK = SystemClock()
KEY = "tollhouse:1:{m}:q"
QUICK = StoreSettings(first_backoff_seconds=0.01, max_backoff_seconds=0.05)


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as store:
        yield store


@pytest.fixture
async def admin(server: EmbeddedStore) -> AsyncIterator[redis.asyncio.Redis]:
    async with administrator(server.url) as client:
        yield client


@asynccontextmanager
async def watching(url: str, watch: StoreWatch | None = None) -> AsyncIterator[StoreLedger]:
    counters = StoreLedger.from_url(url, CLOCK, replace(QUICK, watch=watch or StoreWatch("a")))
    await counters.start()
    try:
        yield counters
    finally:
        await counters.stop()


async def hit(counters: StoreLedger, key: str = KEY) -> PostResult:
    return await counters.post(Posting([Entry(key, 100, 1, 60)]), CLOCK.monotonic() + 5)


async def test_new_store_gets_an_epoch_and_is_not_in_doubt(server, admin):
    async with watching(server.url) as counters:
        assert counters.doubt_about(KEY) == ""
        assert (await hit(counters)).readings[0].used == 1
        assert (await hit(counters)).readings[0].used == 2
        assert counters.doubt_about(KEY) == ""
    assert (await admin.get(EPOCH_KEY)).startswith(b"born-")


async def test_first_hit_after_the_store_was_emptied_knows_it(server, admin):
    async with watching(server.url) as counters:
        await hit(counters)
        await admin.flushall()
        assert not counters.is_doubted
        assert (await hit(counters)).readings[0].used == 1
        assert counters.doubt_about(KEY) == "the store was emptied: it has no epoch"
        assert counters.is_doubted
        await hit(counters)
        assert counters.doubt_about(KEY)


async def test_no_hit_of_many_under_way_passes_unseen_while_the_store_is_emptied(server, admin):
    async with watching(server.url) as counters:
        emptied = asyncio.Event()

        async def pay(key: str) -> None:
            used = 0
            while not counters.doubt_about(KEY):
                found = (await hit(counters, key)).readings[0].used
                # Whoever reads a count that went back knows in the same breath why.
                assert found == used + 1 or counters.doubt_about(KEY)
                used = found
                if used == 20:
                    emptied.set()

        payers = [asyncio.create_task(pay(f"tollhouse:1:{{m}}:{n}")) for n in range(16)]
        await emptied.wait()
        await admin.flushall()
        await asyncio.gather(*payers)


async def test_process_that_started_later_gives_an_emptied_store_no_pardon(server, admin):
    async with watching(server.url) as counters:
        await hit(counters)
        await admin.flushall()
        async with watching(server.url, StoreWatch("another")):
            await hit(counters)
            assert counters.doubt_about(KEY) == "the store was emptied: its epoch is another one"


async def test_store_emptied_while_the_link_was_away_is_noticed_at_connect(server, admin):
    async with watching(server.url) as counters:
        await hit(counters)
        await server.stop()
        await until(lambda: not counters.is_available)
        await server.start()
        await until(lambda: counters.is_available)
        assert counters.doubt_about(KEY) == "the store was emptied: it has no epoch"
    async with administrator(server.url) as again:
        assert await again.get(EPOCH_KEY) is None


async def test_operator_accepts_an_emptied_store_and_the_acceptance_is_on_record(server, admin):
    async with watching(server.url) as counters:
        await admin.flushall()
        await hit(counters)
        assert counters.doubt_about(KEY)
        record = await accept_emptied(server.url)
        await hit(counters)
        assert counters.doubt_about(KEY) == ""
    assert (record["operator"], record["reason"], record["before"]) == ("night shift", "the old machine burnt", "")
    assert record["epoch"].encode() == await admin.get(EPOCH_KEY)
    assert await admin.llen(ACCEPTANCES_KEY) == 1


async def test_acceptance_of_old_that_comes_back_with_a_backup_accepts_nothing(server, admin):
    await accept_emptied(server.url)
    old = await admin.get(EPOCH_KEY)
    await accept_emptied(server.url)
    async with watching(server.url) as counters:
        await admin.set(EPOCH_KEY, old)
        await hit(counters)
        assert counters.doubt_about(KEY) == "the store was emptied: its epoch is another one"


@pytest.mark.parametrize("value", ["", "accepted", "born-1-1", "accepted-9999999999999999-" + "x" * 40])
async def test_epoch_that_is_none_of_ours_is_a_doubt(server, admin, value):
    async with watching(server.url) as counters:
        await admin.set(EPOCH_KEY, value)
        await hit(counters)
        assert counters.doubt_about(KEY)


async def test_epoch_of_another_type_leaves_no_answer(server, admin):
    async with watching(server.url) as counters:
        await admin.delete(EPOCH_KEY)
        await admin.rpush(EPOCH_KEY, "x")
        with pytest.raises(StoreUnavailable):
            await hit(counters)
        await until(lambda: not counters.is_available)


async def test_store_that_may_forget_is_not_judged_by_its_epoch(server, admin):
    async with watching(server.url, StoreWatch("a", is_forgetful=True)) as counters:
        await admin.flushall()
        await hit(counters)
        assert counters.doubt_about(KEY) == ""
        assert counters.warnings() == ()


async def test_evicting_store_is_a_doubt_that_ends_with_the_next_connect(server, admin):
    await admin.config_set("maxmemory-policy", "allkeys-lru")
    async with watching(server.url) as counters:
        assert counters.doubt_about(KEY) == "the store evicts: its maxmemory-policy must be noeviction"
        await admin.config_set("maxmemory-policy", "noeviction")
        await admin.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not counters.doubt_about(KEY))
        assert (await hit(counters)).status is Status.CHARGED


async def test_store_says_what_it_is(server, admin):
    watch = StoreWatch("a")
    async with watching(server.url, watch) as counters:
        assert watch.facts.role == "master"
        assert watch.facts.server.split(" ")[0] in ("valkey", "redis")
        assert (watch.facts.eviction, watch.facts.persistence, watch.facts.replicas) == ("noeviction", "none", "0")
        assert counters.warnings() == ("persistence of the store: none; what it loses counts from zero again",)
    await admin.config_set("appendonly", "yes")
    async with watching(server.url, watch) as counters:
        assert watch.facts.persistence == "aof"
        assert counters.warnings() == ()


async def test_store_that_does_not_say_whether_it_evicts_is_a_doubt(server, admin):
    await admin.acl_setuser("default", commands=["-info", "-config"], enabled=True, nopass=True)
    watch = StoreWatch("a")
    try:
        async with watching(server.url, watch) as counters:
            assert watch.facts == StoreFacts()
            assert counters.doubt_about(KEY) == "the store does not say whether it evicts; its user needs INFO"
            assert (await hit(counters)).status is Status.CHARGED
    finally:
        await admin.acl_setuser("default", commands=["+info", "+config"], enabled=True, nopass=True)
