"""Every counter store behind one face, so that one behaviour suite runs against them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.clock import SystemClock
from helpers.clock import FakeClock
from helpers.valkey import SERVERS, administrator, running
from ratelimit.ledger import Entry, Ledger, Posting, PostResult
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.store_ledger import StoreLedger

STORES = ("memory", *SERVERS)


@dataclass(frozen=True, slots=True)
class StoreUnderTest:
    """A running store; `advance` lets its counters age, `clear` empties it."""

    counters: Ledger
    monotonic: Callable[[], float]
    advance: Callable[[float], Awaitable[None]]
    clear: Callable[[], Awaitable[None]]

    async def hit(self, *charges: Entry) -> PostResult:
        return await self.counters.post(Posting(charges), self.monotonic() + 5.0)

    async def used(self, key: str) -> int:
        return (await self.hit(Entry(key, 0, 0, 60))).readings[0].used


@asynccontextmanager
async def counter_store(kind: str) -> AsyncIterator[StoreUnderTest]:
    """A started store of the kind, empty."""
    opened = _memory() if kind == "memory" else _served(kind)
    async with opened as store:
        await store.counters.start()
        try:
            yield store
        finally:
            await store.counters.stop()


@asynccontextmanager
async def _memory() -> AsyncIterator[StoreUnderTest]:
    clock = FakeClock()

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    async def clear() -> None:
        clock.advance(10**9)

    yield StoreUnderTest(MemoryLedger(clock), clock.monotonic, advance, clear)


@asynccontextmanager
async def _served(server: str) -> AsyncIterator[StoreUnderTest]:
    async with running(server) as embedded, administrator(embedded.url) as admin:
        clock = SystemClock()

        async def advance(seconds: float) -> None:
            # The server's clock is its own; its counters are brought nearer to their end instead.
            for key in await admin.keys():
                await admin.pexpire(key, await admin.pttl(key) - int(seconds * 1000))

        async def clear() -> None:
            await admin.flushall()

        yield StoreUnderTest(StoreLedger.from_url(embedded.url, clock), clock.monotonic, advance, clear)
