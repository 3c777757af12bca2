"""Outcomes reach the ledger, late if need be and each for itself, or are dropped and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

import ratelimit.settling
from chassis.access_log import REPLY
from chassis.rpc import RpcError
from chassis.store_link import StoreUnavailable, Unavailability
from helpers.clock import FakeClock
from helpers.waiting import until
from policy.handoff import METADATA_NAMESPACE
from protos import envoy_wire_pb2 as wire
from ratelimit.ledger import Outcome, Settled, Settlement
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.settling import Settling


class EveryEntry:
    """Makes a settlement of each entry; its status says which."""

    def read(self, entry):
        if entry.metadata.get("verdict") == "deny":
            return "refused"
        return Settlement("k", str(entry.status), "about", Outcome.SPENT)


class SlowLedger(MemoryLedger):
    """Notes what is settled, and can be away, crash or hang."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.fault: Exception | None = None
        self.hangs = False
        self.tried = 0
        self.settled: list[str] = []

    async def settle(self, settlement, deadline):
        self.tried += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        self.settled.append(settlement.decision_id)
        return Settled.DONE


@dataclass
class Rig:
    ledger: SlowLedger
    clock: FakeClock
    registry: CollectorRegistry
    settling: Settling
    names: list[str] = field(default_factory=list)

    def counted(self, what: str) -> float:
        return self.registry.get_sample_value("tollhouse_outcome_entries_total", {"what": what}) or 0.0


@asynccontextmanager
async def settling() -> AsyncIterator[Rig]:
    clock = FakeClock()
    ledger, registry = SlowLedger(clock), CollectorRegistry()
    rig = Rig(ledger, clock, registry, Settling(EveryEntry(), ledger, clock, registry))
    await rig.settling.start()
    try:
        yield rig
    finally:
        await rig.settling.stop()


def message(*statuses: int, verdict: str = "allow") -> bytes:
    written = wire.StreamAccessLogsMessage()
    for status in statuses:
        entry = written.http_logs.log_entry.add()
        entry.response.response_code.value = status
        fields = entry.common_properties.metadata.filter_metadata[METADATA_NAMESPACE].fields
        fields["verdict"].string_value = verdict
    return written.SerializeToString()


async def stream(*messages: bytes) -> AsyncIterator[bytes]:
    for each in messages:
        yield each


async def test_every_entry_of_a_stream_is_settled_in_order():
    async with settling() as rig:
        assert await rig.settling.collect(stream(message(*range(100)), message(), message(*range(100, 300)))) == REPLY
        await until(lambda: len(rig.ledger.settled) == 300)
        assert rig.ledger.settled == [str(number) for number in range(300)]
        assert rig.counted("settled") == 300
        assert rig.registry.get_sample_value("tollhouse_outcomes_total", {"kind": "spent"}) == 300


async def test_message_that_cannot_be_read_ends_its_stream_and_what_came_before_counts():
    async with settling() as rig:
        with pytest.raises(RpcError):
            await rig.settling.collect(stream(message(1), b"\xff", message(2)))
        await until(lambda: rig.ledger.settled == ["1"])


async def test_entry_that_settles_nothing_is_counted():
    async with settling() as rig:
        rig.settling.take(message(1, 2, verdict="deny"))
        assert (rig.counted("refused"), rig.ledger.tried) == (2, 0)


async def test_outcomes_wait_for_a_store_that_is_away(monkeypatch):
    monkeypatch.setattr(ratelimit.settling, "_PAUSE_SECONDS", 0.0)
    async with settling() as rig:
        rig.ledger.fault = StoreUnavailable(Unavailability.LOST)
        rig.settling.take(message(1, 2))
        await until(lambda: rig.ledger.tried >= 6)
        assert rig.registry.get_sample_value("tollhouse_outcomes_waiting") == 2
        rig.ledger.fault = None
        await until(lambda: rig.ledger.settled == ["1", "2"])
        assert rig.counted("dropped") == 0


async def test_outcome_that_is_too_old_is_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(ratelimit.settling, "_PAUSE_SECONDS", 0.0)
    async with settling() as rig:
        rig.ledger.fault = StoreUnavailable(Unavailability.LOST)
        rig.settling.take(message(1))
        await until(lambda: rig.ledger.tried >= 2)
        rig.clock.advance(61.0)
        await until(lambda: rig.counted("dropped") == 1)
        rig.ledger.fault = None
        rig.settling.take(message(2))
        await until(lambda: rig.ledger.settled == ["2"])


async def test_more_than_fit_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(ratelimit.settling, "MAX_WAITING", 3)
    async with settling() as rig:
        rig.settling.take(message(1, 2, 3, 4, 5))
        await until(lambda: rig.ledger.settled == ["1", "2", "3"])
        assert rig.counted("dropped") == 2


async def test_fault_of_our_own_costs_one_outcome(monkeypatch):
    async with settling() as rig:
        rig.ledger.fault = KeyError("x")
        rig.settling.take(message(1))
        await until(lambda: rig.counted("dropped") == 1)
        rig.ledger.fault = None
        rig.settling.take(message(2))
        await until(lambda: rig.ledger.settled == ["2"])


async def test_stop_writes_what_waits_and_does_not_wait_for_a_store_that_hangs(monkeypatch):
    monkeypatch.setattr(ratelimit.settling, "_STOP_SECONDS", 0.2)
    async with settling() as rig:
        rig.settling.take(message(*range(200)))
        await rig.settling.stop()
        assert len(rig.ledger.settled) == 200
    async with settling() as rig:
        rig.ledger.hangs = True
        rig.settling.take(message(1))
        async with asyncio.timeout(5):
            await rig.settling.stop()
        assert rig.ledger.settled == []
