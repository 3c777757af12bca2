"""Whatever the store does, replicas with a local share pass no more than the law of `ratelimit/local_share.py` says."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chassis.store_link import StoreUnavailable, Unavailability
from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from ratelimit.local_share import local_share
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.window import Windows

LIMIT, PERCENT, REPLICAS = 1000, 30, 3
SHARE = LIMIT * PERCENT // 100
WHOLE = limit("day", LIMIT, metric="amount", currency="EUR", denies_without_store=False)
TABLES = tables(replace(WHOLE, local=local_share(WHOLE, PERCENT)))

Event = tuple[str, int, int]
PAYMENT = st.tuples(st.just("pay"), st.integers(0, REPLICAS - 1), st.integers(1, 400))
OTHER = st.tuples(st.sampled_from(["go", "come", "empty", "accept", "wait"]), st.just(0), st.integers(1, 50_000))
EVENTS = st.lists(st.one_of(PAYMENT, PAYMENT, PAYMENT, OTHER), max_size=60)


class Store:
    """One store for all replicas: it goes, comes back, and is emptied."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ledger = MemoryLedger(clock)
        self.is_there, self.doubt = True, ""

    def doubt_about(self, key):
        return self.doubt

    async def post(self, posting, deadline):
        if not self.is_there:
            raise StoreUnavailable(next(iter(Unavailability)))
        return await self.ledger.post(posting, deadline)


class Fleet:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = Store(self.clock)
        self.engines = [Engine(self.store, Windows(), self.clock) for _ in range(REPLICAS)]
        self.by_store: Counter[str] = Counter()
        self.by_replica: Counter[tuple[str, int]] = Counter()
        self.payments = 0

    def happen(self, what: str, number: int) -> None:
        if what in ("go", "come"):
            self.store.is_there = what == "come"
        elif what == "empty":
            self.store.ledger, self.store.doubt = MemoryLedger(self.clock), "the store was emptied"
        elif what == "accept":
            self.store.doubt = ""
            self.by_store.clear()  # an operator has said that what it forgot may be spent again
        else:
            self.clock.advance(number)

    async def pay(self, replica: int, amount: int) -> None:
        self.payments += 1
        query = limit_query(amount_minor=amount, decision_id=f"{self.payments:032x}")
        engine = self.engines[replica]
        is_trusted = self.store.is_there and not self.store.doubt
        verdict = await decide(TABLES, query, Trail(query.decision_id), engine.clock.monotonic() + 1.0, engine)
        if not isinstance(verdict, WithinLimit):
            return
        day = str((self.clock.now + 3600) // 86_400)  # Berlin in winter
        if is_trusted:
            self.by_store[day] += amount
        else:
            self.by_replica[day, replica] += amount


@given(EVENTS)
def test_a_trusted_store_passes_the_limit_and_each_replica_without_one_its_share(events: list[Event]):
    fleet = Fleet()

    async def run() -> None:
        for what, replica, number in events:
            if what == "pay":
                await fleet.pay(replica, number)
            else:
                fleet.happen(what, number)
            assert all(passed <= LIMIT for passed in fleet.by_store.values())
            assert all(passed <= SHARE for passed in fleet.by_replica.values())

    asyncio.run(run())
