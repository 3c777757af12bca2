"""ratelimit with `on_store_failure: local` over a real store that dies and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import ratelimit.server
from chassis.policy_service import PolicyService
from helpers.life_fleet import free_ports
from helpers.services import copy_policies, should_rate_limit
from helpers.store_fleets import Server, started
from helpers.valkey import SERVERS, running
from helpers.waiting import until_told
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

QUOTA = """\
quotas:
  - id: day
    owner: a
    metric: amount
    interval: daily
    operations: [create_payment]
    currency: EUR
    limit: 10000
    on_store_failure: local
    local_percent: 25
"""


def payment(number: int, amount: int = 1000) -> dict[str, str]:
    return {
        "handoff": "2",
        "merchant_id": "m_active",
        "operation": "create_payment",
        "currency": "EUR",
        "amount_minor": str(amount),
        "card_key": "none",
        "sub_merchant": "none",
        "payer": "none",
        "device": "none",
        "ip": "none",
        "idempotency": "none",
        "decision_id": f"{number:032x}",
        "policy_revision": "a" * 16,
    }


def reason(response: wire.RateLimitResponse) -> str:
    is_over = response.overall_code == wire.RateLimitResponse.OVER_LIMIT
    return str(json.loads(response.raw_body)["reason"]) if is_over else "ok"


def policies(tmp_path: Path) -> Path:
    root = copy_policies(tmp_path / "policies")
    (root / "quotas.yaml").write_text(QUOTA)
    return root


@asynccontextmanager
async def sharing(tmp_path: Path, store: str) -> AsyncIterator[PolicyService[Any]]:
    log = str(tmp_path / "limits.jsonl")
    service = ratelimit.server.build(ServiceSettings(policies=str(policies(tmp_path)), store=store, decision_log=log))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_killed_store_leaves_the_share_and_the_record_says_so(tmp_path, server):
    async with running(server) as store, sharing(tmp_path, store.url) as service:
        assert reason(await should_rate_limit(service, payment(1))) == "ok"
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        found = [reason(await should_rate_limit(service, payment(10 + number))) for number in range(4)]
        assert found == ["ok", "ok", "store_unavailable", "store_unavailable"]
        assert reason(await should_rate_limit(service, payment(20, 500))) == "ok"
    records = [json.loads(line) for line in (tmp_path / "limits.jsonl").read_text().splitlines()]
    assert [record["reason"] for record in records] == [
        "within_limit",
        *["store_failure_allowed"] * 2,
        *["store_unavailable"] * 2,
        "store_failure_allowed",
    ]
    assert records[3]["detail"].endswith("this replica's share of day is used up")
    assert records[5]["readings"] == [{"quota": "day", "limit": "2500", "used": "2500", "over": False, "shadow": False}]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_store_that_comes_back_judges_again_without_a_restart(tmp_path, server):
    async with running(server) as store, sharing(tmp_path, store.url) as service:
        assert reason(await should_rate_limit(service, payment(1))) == "ok"
        assert store.pid is not None
        os.kill(store.pid, signal.SIGSTOP)
        try:
            found = [reason(await should_rate_limit(service, payment(10 + number))) for number in range(3)]
        finally:
            os.kill(store.pid, signal.SIGCONT)
        assert found == ["ok", "ok", "store_unavailable"]
        numbers = iter(range(100, 100_000))

        async def is_judged_by_the_store() -> bool:
            # More than the share has left: only the store can let it pass.
            return reason(await should_rate_limit(service, payment(next(numbers), 600))) == "ok"

        await until_told(is_judged_by_the_store)
        # The store has counted 1000 and 600, and of those sent while it slept what still reached it.
        await should_rate_limit(service, payment(50, 10_000))
    records = [json.loads(line) for line in (tmp_path / "limits.jsonl").read_text().splitlines()]
    used = int(records[-1]["readings"][0]["used"])
    assert records[-1]["readings"][0]["limit"] == "10000"
    assert 1600 <= used <= 1600 + 3 * 1000


async def test_a_killed_store_that_kept_its_counts_goes_on_where_it_was(tmp_path):
    (port,) = free_ports(1)
    store = Server(tmp_path, port, "--appendonly", "yes", "--appendfsync", "always")
    async with started(store), sharing(tmp_path, f"redis://127.0.0.1:{port}") as service:
        await until_told(lambda: is_ready(service))
        assert reason(await should_rate_limit(service, payment(1, 7000))) == "ok"
        store.send_signal(signal.SIGKILL)
        assert store.process is not None
        await asyncio.to_thread(store.process.wait)
        found = [reason(await should_rate_limit(service, payment(10 + number))) for number in range(3)]
        assert found == ["ok", "ok", "store_unavailable"]
        await store.start()
        await until_told(lambda: is_ready(service))
        # 7000 of 10000 are in the store; what passed meanwhile is in this replica's share alone, and stays there.
        assert reason(await should_rate_limit(service, payment(20, 3001))) == "quota_exceeded"
        assert reason(await should_rate_limit(service, payment(21, 3000))) == "ok"
        store.send_signal(signal.SIGKILL)
        await asyncio.to_thread(store.process.wait)
        assert reason(await should_rate_limit(service, payment(22, 501))) == "store_unavailable"
        assert reason(await should_rate_limit(service, payment(23, 500))) == "ok"


async def is_ready(service: PolicyService[Any]) -> bool:
    return "the counter store is not connected" not in service.readiness().warnings
