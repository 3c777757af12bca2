"""Marks of used proofs: one behaviour in memory, in Valkey and in Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreUnavailable
from extauthz.tokens.replay import MemoryReplays, proof_mark, request_identity
from extauthz.tokens.store_replays import StoreReplays
from helpers.clock import FakeClock
from helpers.counter_stores import STORES
from helpers.requests import authz_request
from helpers.valkey import administrator, running

CLOCK = SystemClock()


def soon() -> float:
    return CLOCK.monotonic() + 5.0


@asynccontextmanager
async def two_replicas(kind):
    """Two replicas of the gate before one store; in memory there is one replica."""
    if kind == "memory":
        store = MemoryReplays(CLOCK)
        yield store, store
        return
    async with running(kind) as server:
        one, other = (StoreReplays.from_url(server.url, CLOCK) for _ in range(2))
        await one.start()
        await other.start()
        try:
            yield one, other
        finally:
            await one.stop()
            await other.stop()


@pytest.mark.parametrize("kind", STORES)
async def test_proof_passes_one_request_and_that_one_again(kind):
    async with two_replicas(kind) as (one, other):
        assert one.is_available
        mark = proof_mark("key", "name")
        assert await one.use(mark, "first request", 60, soon())
        assert await other.use(mark, "first request", 60, soon())
        for store in (one, other):
            assert not await store.use(mark, "second request", 60, soon())
            assert not await store.use(mark, "", 60, soon())
        assert await other.use(proof_mark("key", "other name"), "second request", 60, soon())


@pytest.mark.parametrize("kind", STORES)
async def test_request_that_cannot_be_told_from_others_is_forgiven_nothing(kind):
    async with two_replicas(kind) as (one, other):
        assert await one.use("mark", "", 60, soon())
        assert not await other.use("mark", "", 60, soon())


@pytest.mark.parametrize("kind", STORES)
async def test_of_many_at_once_one_passes(kind):
    async with two_replicas(kind) as (one, other):
        for mark in range(20):
            uses = (store.use(f"mark-{mark}", f"request-{n}", 60, soon()) for n in range(8) for store in (one, other))
            passed = await asyncio.gather(*uses)
            # Of the sixteen uses two are of one request, asked of both replicas.
            assert sum(passed) == 2
            assert [passed[2 * n] for n in range(8)] == [passed[2 * n + 1] for n in range(8)]


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind != "memory"])
async def test_mark_lives_as_long_as_it_was_asked_for_and_names_nobody(kind):
    async with running(kind) as server, administrator(server.url) as admin:
        store = StoreReplays.from_url(server.url, CLOCK)
        await store.start()
        try:
            await store.use(proof_mark("a-client-key", "a-name"), "r", 100.0, soon())
            (key,) = await admin.keys("*")
            assert key.startswith(b"tollhouse:dpop:")
            assert b"a-client-key" not in key
            assert 99_000 < await admin.pttl(key) <= 100_000
        finally:
            await store.stop()


async def test_memory_forgets_after_its_time_and_not_before():
    clock = FakeClock()
    store = MemoryReplays(clock)
    assert await store.use("mark", "a", 60, clock.monotonic() + 1)
    clock.advance(59.9)
    assert not await store.use("mark", "b", 60, clock.monotonic() + 1)
    clock.advance(0.1)
    assert await store.use("mark", "b", 60, clock.monotonic() + 1)


async def test_memory_that_is_full_refuses_and_forgets_nothing():
    clock = FakeClock()
    store = MemoryReplays(clock, max_marks=2)
    for mark in ("one", "two"):
        assert await store.use(mark, "a", 60, clock.monotonic() + 1)
    with pytest.raises(StoreUnavailable):
        await store.use("three", "a", 60, clock.monotonic() + 1)
    assert not await store.use("one", "b", 60, clock.monotonic() + 1)


async def test_store_that_is_away_or_late_gives_no_answer():
    async with running() as server:
        store = StoreReplays.from_url(server.url, CLOCK)
        with pytest.raises(StoreUnavailable):
            await store.use("mark", "a", 60, soon())  # not started
        await store.start()
        with pytest.raises(StoreUnavailable):
            await store.use("mark", "a", 60, CLOCK.monotonic() - 1)
        assert await store.use("mark", "a", 60, soon())
        await store.stop()
    with pytest.raises(StoreUnavailable):
        await MemoryReplays(CLOCK).use("mark", "a", 60, CLOCK.monotonic() - 1)


def test_mark_is_of_key_and_name():
    assert len({proof_mark("a", "b"), proof_mark("a", "c"), proof_mark("c", "b")}) == 3
    assert proof_mark("a", "b") == proof_mark("a", "b")
    assert proof_mark("a", "\ud800")


ENVOY = authz_request(stream_id="8140253346201236", peer_port=41000, time=1_700_000_000.25)


@pytest.mark.parametrize(
    "change",
    [
        {"stream_id": "8140253346201237"},
        {"time": 1_700_000_000.250001},
        {"request_id": "22222222-2222-4333-8444-555555555555"},
        {"peer_ip": "192.0.2.2"},
        {"peer_port": 41001},
        {"method": "PUT"},
        {"host": "other.example.test"},
        {"path": "/v1/payments?x"},
        {"body": b'{"amount": 10}'},
    ],
)
def test_another_request_has_another_identity(change):
    assert request_identity(ENVOY) == request_identity(ENVOY._replace())
    assert request_identity(ENVOY._replace(**change)) != request_identity(ENVOY)


@pytest.mark.parametrize("change", [{"stream_id": ""}, {"time": 0.0}])
def test_request_without_what_envoy_alone_knows_has_no_identity(change):
    assert request_identity(ENVOY._replace(**change)) == ""
