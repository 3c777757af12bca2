"""Every store of descriptor counters behind one face, so that one behaviour suite runs against them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.clock import SystemClock
from helpers.clock import FakeClock
from helpers.valkey import SERVERS, administrator, running
from ratelimit.descriptors.memory_tally import MemoryTally
from ratelimit.descriptors.store_tally import StoreTally
from ratelimit.descriptors.tally import Count, Hit, Law, Role, TallyStore

TALLY_STORES = ("memory", *SERVERS)


@dataclass(frozen=True, slots=True)
class TallyUnderTest:
    """A running store; `advance` lets its counters age, `counts` shows them all, `write` meddles with one."""

    store: TallyStore
    monotonic: Callable[[], float]
    advance: Callable[[float], Awaitable[None]]
    counts: Callable[[], Awaitable[Mapping[str, int]]]

    async def tally(self, *hits: Hit, law: Law = Law.ALL_OR_NONE) -> tuple[Count, ...]:
        return await self.store.tally(hits, law, self.monotonic() + 5.0)


def hit(key: str, limit: int, cost: int = 1, role: Role = Role.HARD, *, back: bool = False, life: int = 60) -> Hit:
    return Hit(key, limit, cost, back, life, role)


@asynccontextmanager
async def tally_store(kind: str) -> AsyncIterator[TallyUnderTest]:
    """A started store of the kind, empty."""
    opened = _memory() if kind == "memory" else _served(kind)
    async with opened as under_test:
        await under_test.store.start()
        try:
            yield under_test
        finally:
            await under_test.store.stop()


@asynccontextmanager
async def _memory() -> AsyncIterator[TallyUnderTest]:
    clock = FakeClock()
    store = MemoryTally(clock)

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    async def counts() -> Mapping[str, int]:
        return store.counts()

    yield TallyUnderTest(store, clock.monotonic, advance, counts)


@asynccontextmanager
async def _served(server: str) -> AsyncIterator[TallyUnderTest]:
    async with running(server) as embedded, administrator(embedded.url) as admin:
        clock = SystemClock()

        async def advance(seconds: float) -> None:
            # The server's clock is its own; its counters are brought nearer to their end instead.
            for key in await admin.keys():
                await admin.pexpire(key, await admin.pttl(key) - int(seconds * 1000))

        async def counts() -> Mapping[str, int]:
            return {key.decode(): int(await admin.get(key)) for key in await admin.keys()}

        yield TallyUnderTest(StoreTally.from_url(embedded.url, clock), clock.monotonic, advance, counts)
