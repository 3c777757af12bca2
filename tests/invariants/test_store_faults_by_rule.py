"""What each rule for a store that fails does, fault by fault: in time, as the quota says, and over without a restart.

One replica, three quotas: an amount that is denied without a store, an amount that is allowed, and a count that falls
back on this replica's share. Between the faults every quota is counted by the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import ratelimit.server
from chassis.policy_service import PolicyService
from chassis.store_cluster import slot_of
from helpers.emptied_stores import accept_emptied
from helpers.life_fleet import free_ports
from helpers.services import copy_policies, should_rate_limit
from helpers.store_fleets import Server, clustered, guarded, started
from helpers.valkey import SERVERS
from helpers.waiting import until_told
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

pytestmark = pytest.mark.slow

IN_TIME = 2.0
"""Seconds within which each call has its answer; the store link gives up after one."""
QUOTAS = """\
quotas:
  - {id: denied, owner: a, metric: amount, interval: daily, operations: [create_payment], currency: EUR,
     limit: 100000000, on_store_failure: deny}
  - {id: allowed, owner: a, metric: amount, interval: daily, operations: [refund_payment], currency: EUR,
     limit: 100000000, on_store_failure: allow}
  - {id: shared, owner: a, metric: count, interval: daily, operations: [read_payment],
     limit: 4000, on_store_failure: local, local_percent: 1} # 40 without a store, more than the faults here use
"""
RULES = {"deny": "create_payment", "allow": "refund_payment", "local": "read_payment"}
UNCOUNTED, COUNTED = "store_failure_allowed", "within_limit"


@dataclass
class Limiter:
    """A running replica; answers are read from its own records."""

    service: PolicyService[Any]
    log: Path
    numbers: count[int] = field(default_factory=lambda: count(1))

    async def ask(self, rule: str) -> str:
        """Send a request of the rule's operation; return the reason that was recorded."""
        is_money = rule != "local"
        entries = {
            "handoff": "2",
            "merchant_id": "m_active",
            "operation": RULES[rule],
            "currency": "EUR" if is_money else "none",
            "amount_minor": "5" if is_money else "none",
            "card_key": "none",
            **dict.fromkeys(("sub_merchant", "payer", "device", "ip", "idempotency"), "none"),
            "decision_id": f"{next(self.numbers):032x}",
            "policy_revision": "a" * 16,
        }
        async with asyncio.timeout(IN_TIME):
            answer = await should_rate_limit(self.service, entries)
        if answer.overall_code == wire.RateLimitResponse.OVER_LIMIT:
            return str(json.loads(answer.raw_body)["reason"])
        await until_told(lambda: self._record(entries["decision_id"]))
        return str((await self._record(entries["decision_id"]))["reason"])

    async def _record(self, decision_id: str) -> Any:
        for line in reversed(self.log.read_text("utf-8").splitlines()):
            if decision_id in line:
                return json.loads(line)
        return None

    async def is_counted(self) -> bool:
        """Tell whether the store counts all three."""
        return [await self.ask(rule) for rule in RULES] == [COUNTED] * 3

    async def goes_by_the_rules(self) -> None:
        """Check what the three rules say while the store gives no answer."""
        assert await self.ask("deny") == "store_unavailable"
        assert await self.ask("allow") == UNCOUNTED
        found = [await self.ask("local") for _ in range(3)]
        assert found == [UNCOUNTED] * 3


@contextlib.asynccontextmanager
async def limiter(tmp_path: Path, store: str, **settings: Any) -> AsyncIterator[Limiter]:
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(QUOTAS)
    log = tmp_path / "limits.jsonl"
    log.touch()
    given = ServiceSettings(policies=str(policies), store=store, decision_log=str(log), **settings)
    service = ratelimit.server.build(given)
    await service.start()
    try:
        running = Limiter(service, log)
        await until_told(running.is_counted)
        yield running
    finally:
        await service.stop()


@contextlib.asynccontextmanager
async def single(tmp_path: Path, server: str) -> AsyncIterator[tuple[Server, Limiter]]:
    """One server that keeps what it holds, and a replica over it."""
    program = None if server == "valkey" else shutil.which("redis-server")
    (port,) = free_ports(1)
    store = Server(tmp_path, port, "--appendonly", "yes", "--appendfsync", "always", program=program)
    async with started(store), limiter(tmp_path, f"redis://127.0.0.1:{port}") as running:
        yield store, running


@pytest.mark.parametrize("server", SERVERS)
async def test_killed(tmp_path, server):
    async with single(tmp_path, server) as (store, running):
        store.send_signal(signal.SIGKILL)
        assert store.process is not None
        await asyncio.to_thread(store.process.wait)
        await running.goes_by_the_rules()
        await store.start()
        await until_told(running.is_counted)


@pytest.mark.parametrize("server", SERVERS)
async def test_paused(tmp_path, server):
    async with single(tmp_path, server) as (store, running):
        store.send_signal(signal.SIGSTOP)
        try:
            await running.goes_by_the_rules()
        finally:
            store.send_signal(signal.SIGCONT)
        await until_told(running.is_counted)


@pytest.mark.parametrize("server", SERVERS)
async def test_emptied(tmp_path, server):
    async with single(tmp_path, server) as (store, running):
        await store.client.flushall()
        # Amounts may have been spent before; a count begins anew, which is what its rule protects against least.
        assert [await running.ask("deny") for _ in range(3)] == ["store_unavailable"] * 3
        assert {await running.ask("allow") for _ in range(3)} == {COUNTED}
        assert await running.ask("local") == COUNTED
        await accept_emptied(f"redis://127.0.0.1:{store.port}")
        await until_told(running.is_counted)


@pytest.mark.parametrize("server", SERVERS)
async def test_scripts_flushed(tmp_path, server):
    async with single(tmp_path, server) as (store, running):
        for _ in range(3):
            await store.client.script_flush()
            first = [await running.ask(rule) for rule in RULES]
            assert first[0] in (COUNTED, "store_unavailable")
            assert set(first[1:]) <= {COUNTED, UNCOUNTED}
            await until_told(running.is_counted)


@pytest.mark.parametrize("server", SERVERS)
async def test_memory_full(tmp_path, server):
    async with single(tmp_path, server) as (store, running):
        await store.client.config_set("maxmemory", "1")
        await running.goes_by_the_rules()
        await store.client.config_set("maxmemory", "0")
        await until_told(running.is_counted)


async def _told(is_so: bool) -> bool:
    return is_so


async def test_failed_over(tmp_path):
    async with guarded(tmp_path, sentinels=3) as fleet, limiter(tmp_path, fleet.url) as running:
        await fleet.replicated()
        fleet.kill_primary()
        await until_told(lambda: _told(fleet.is_primary_gone))
        await running.goes_by_the_rules()
        await until_told(running.is_counted)


async def test_slot_moved(tmp_path):
    async with clustered(tmp_path) as cluster, limiter(tmp_path, cluster.url) as running:
        slot = slot_of("tollhouse:1:{m_active}:denied")
        source = cluster.owner(slot)
        target = next(node for node in cluster.nodes if node is not source)
        await cluster.begin_move(slot, source, target)
        for rule, allowed in (("deny", "store_unavailable"), ("allow", UNCOUNTED), ("local", UNCOUNTED)):
            assert await running.ask(rule) in (COUNTED, allowed)
        await cluster.end_move(slot, source, target)
        await until_told(running.is_counted)
