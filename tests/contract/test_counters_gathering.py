"""Hits that arrive while a call is under way go out together afterwards; whoever gave up by then is not charged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

import chassis.gathered_calls
from chassis.clock import SystemClock
from chassis.store_link import StoreSettings, StoreUnavailable, Unavailability
from helpers.ledgers import charged
from helpers.valkey import SERVERS, administrator, running
from ratelimit.ledger import Entry, Posting, PostResult, Reading, Status
from ratelimit.store_ledger import StoreLedger
from tollhouse.embedded_store import EmbeddedStore

CLOCK = SystemClock()
PATIENT = StoreSettings(reply_timeout_seconds=60.0)


@pytest.fixture(params=SERVERS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as server:
        yield server
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
async def counters(store: EmbeddedStore) -> AsyncIterator[StoreLedger]:
    opened = StoreLedger.from_url(store.url, CLOCK, PATIENT)
    await opened.start()
    yield opened
    await opened.stop()


async def hit_while_paused(counters: StoreLedger, key: str, seconds: float = 30.0) -> asyncio.Task[PostResult]:
    task = asyncio.create_task(counters.post(Posting([Entry(key, 9, 1, 60)]), CLOCK.monotonic() + seconds))
    # Two steps: it runs up to its wait, then the end of the tick sends what may be sent.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_hits_gather_behind_a_call_and_those_given_up_are_never_charged(store, counters):
    os.kill(store.pid, signal.SIGSTOP)
    under_way = await hit_while_paused(counters, "first")
    gathered = [await hit_while_paused(counters, "same") for _ in range(5)]
    late = await hit_while_paused(counters, "late", seconds=0.02)
    cancelled = await hit_while_paused(counters, "cancelled")
    with pytest.raises(StoreUnavailable, match="the deadline passed"):
        await late
    cancelled.cancel()
    os.kill(store.pid, signal.SIGCONT)
    assert await under_way == charged((Reading(1, False),))
    results = await asyncio.gather(*gathered)
    assert [result.readings[0].used for result in results] == [1, 2, 3, 4, 5]
    async with administrator(store.url) as admin:
        assert sorted(await admin.keys()) == [b"first", b"same"]


async def test_stopping_answers_those_that_were_not_sent_yet(store, counters):
    os.kill(store.pid, signal.SIGSTOP)
    waiting = [await hit_while_paused(counters, key) for key in "abc"]
    await counters.stop()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(outcome, "why", outcome) for outcome in outcomes] == [Unavailability.STOPPED] * 3


async def test_no_more_than_the_bound_wait(store, counters, monkeypatch):
    monkeypatch.setattr(chassis.gathered_calls, "MAX_WAITING", 2)
    os.kill(store.pid, signal.SIGSTOP)
    waiting = [await hit_while_paused(counters, key) for key in "abc"]
    with pytest.raises(StoreUnavailable, match="queue is full"):
        await counters.post(Posting([Entry("d", 9, 1, 60)]), CLOCK.monotonic() + 30)
    os.kill(store.pid, signal.SIGCONT)
    assert [result.status is Status.CHARGED for result in await asyncio.gather(*waiting)] == [True] * 3
