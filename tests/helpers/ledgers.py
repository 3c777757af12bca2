"""Every ledger behind one face, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.clock import SystemClock
from helpers.clock import FakeClock
from helpers.valkey import SERVERS, administrator, running
from ratelimit.ledger import Ledger, Outcome, Posting, PostResult, Reading, Settled, Settlement, Status
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.store_ledger import StoreLedger

LEDGERS = ("memory", *SERVERS)
START = 1_700_000_000.0


@dataclass(slots=True)
class LedgerUnderTest:
    """A running ledger; `set_time` says by which time it judges, in seconds since 1970.

    `restart` replaces what a service holds of it; None where the service is the ledger.
    """

    ledger: Ledger
    monotonic: Callable[[], float]
    set_time: Callable[[float], None]
    now: float = START
    restart: Callable[[], Awaitable[None]] | None = None

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.set_time(self.now)

    async def post(self, posting: Posting) -> PostResult:
        return await self.ledger.post(posting, self.monotonic() + 20.0)

    async def settle(self, posting: Posting, outcome: Outcome, about: str | None = None) -> Settled:
        assert posting.hold is not None
        hold = posting.hold
        settlement = Settlement(hold.key, hold.decision_id, about or hold.about, outcome)
        return await self.ledger.settle(settlement, self.monotonic() + 20.0)


@asynccontextmanager
async def opened_ledger(kind: str) -> AsyncIterator[LedgerUnderTest]:
    """A started ledger of the kind, empty."""
    opened = _memory() if kind == "memory" else _served(kind)
    async with opened as under_test:
        under_test.set_time(under_test.now)
        await under_test.ledger.start()
        try:
            yield under_test
        finally:
            await under_test.ledger.stop()


@asynccontextmanager
async def _memory() -> AsyncIterator[LedgerUnderTest]:
    clock = FakeClock(START)

    def set_time(now: float) -> None:
        clock.now = now

    yield LedgerUnderTest(MemoryLedger(clock), clock.monotonic, set_time)


@asynccontextmanager
async def _served(server: str) -> AsyncIterator[LedgerUnderTest]:
    async with running(server) as embedded, administrator(embedded.url) as admin:
        await admin.ping()
        clock = SystemClock()
        opened = LedgerUnderTest(StoreLedger.from_url(embedded.url, clock), clock.monotonic, lambda _now: None)

        def set_time(now: float) -> None:
            assert isinstance(opened.ledger, StoreLedger)
            opened.ledger.judged_at_ms = int(now * 1000)

        async def restart() -> None:
            await opened.ledger.stop()
            opened.ledger = StoreLedger.from_url(embedded.url, clock)
            set_time(opened.now)
            await opened.ledger.start()

        opened.set_time, opened.restart = set_time, restart
        yield opened


def charged(readings: tuple[Reading, ...]) -> PostResult:
    """What a posting of windows alone is answered when it was counted."""
    return PostResult(Status.CHARGED, readings, (0,) * len(readings))


def refused_with(readings: tuple[Reading, ...]) -> PostResult:
    """What a posting of windows alone is answered when it was not."""
    return PostResult(Status.OVER, readings, (0,) * len(readings))
