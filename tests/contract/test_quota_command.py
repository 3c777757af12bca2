"""`tollhouse quota` over real stores: what it shows is what the service counts, and a reset leaves a record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chassis.clock import SystemClock
from helpers.services import copy_policies
from helpers.store_fleets import clustered
from helpers.valkey import SERVERS, administrator, running
from policy.loader import load_policy_set
from ratelimit.compile import compile_tables
from ratelimit.leased import largest_share
from ratelimit.model import LimitQuery, Verdict, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.posting import resets_key
from ratelimit.store_ledger import StoreLedger
from ratelimit.window import Windows
from tollhouse.__main__ import app
from tollhouse.embedded_store import EmbeddedStore

QUOTAS = """\
quotas:
  - {id: single, owner: a, metric: amount, interval: per_transaction, operations: [create_payment], currency: EUR,
     limit: 900}
  - {id: day, owner: a, metric: amount, interval: daily, operations: [create_payment], currency: EUR, limit: 1000}
  - {id: last_hour, owner: a, metric: count, interval: sliding, length: 1h, operations: [create_payment], limit: 9,
     per: operation, mode: shadow}
  - {id: held, owner: a, metric: count, interval: daily, operations: [create_payment], limit: 9, counts: authorized}
  - {id: open, owner: a, metric: in_flight, operations: [create_payment], limit: 9}
  - {id: each_card, owner: a, metric: count, interval: daily, operations: [create_payment], limit: 9, per: card,
     without: {owner: a, reason: b}}
  - {id: cards, owner: a, metric: distinct, distinct: card, interval: daily, operations: [create_payment], limit: 9,
     without: {owner: a, reason: b}}
  - {id: everybody, owner: a, metric: count, interval: daily, operations: [create_payment], limit: 9, per: platform}
"""


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as store:
        yield store


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    root = copy_policies(tmp_path / "policies")
    (root / "quotas.yaml").write_text(QUOTAS)
    return root


async def quota(*words: str | Path) -> Result:
    """Run the command as a person does; it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["quota", *map(str, words)])


async def shown(url: str, policies: Path, *more: str) -> dict[str, dict[str, Any]]:
    found = await quota("show", "--policies", policies, "--store", url, "--merchant", "m_active", "--json", *more)
    assert found.exit_code == 0, found.output
    return {row["quota"]: row for row in map(json.loads, found.output.splitlines())}


async def pay(url: str, policies: Path, number: int, amount: int = 400) -> Verdict:
    clock = SystemClock()
    ledger = StoreLedger.from_url(url, clock)
    await ledger.start()
    try:
        query = LimitQuery(
            "m_active", "create_payment", "EUR", amount, f"{number:032x}", "a" * 16, card_keys=(f"k.{number:064x}",)
        )
        tables = compile_tables(load_policy_set(policies))
        engine = Engine(ledger, Windows(), clock)
        return await decide(tables, query, Trail(query.decision_id), clock.monotonic() + 20.0, engine)
    finally:
        await ledger.stop()


async def test_show_reads_every_counter_and_counts_nothing(server, policies):
    assert {row["used"] for row in (await shown(server.url, policies)).values() if "used" in row} == {0}
    for number in (1, 2):
        assert isinstance(await pay(server.url, policies, number), WithinLimit)
    async with administrator(server.url) as admin:
        before = await admin.dbsize()
        rows = await shown(server.url, policies)
        assert await admin.dbsize() == before
    used = {name: row.get("used") for name, row in rows.items()}
    assert used == {
        "single": None, "day": 800, "last_hour": 2, "held": 2, "open": 2, "each_card": None, "cards": 2, "everybody": 2,
    }  # fmt: skip
    assert (rows["day"]["limit"], rows["day"]["remaining"], rows["last_hour"]["mode"]) == (1000, 200, "shadow")
    assert rows["day"]["resets_at"].endswith("Z")
    assert rows["single"]["note"] == "each payment by itself"
    assert rows["each_card"]["note"] == "a counter for each card"
    assert set(await shown(server.url, policies, "--quota", "day")) == {"day"}


async def test_show_prints_columns_for_people(server, policies):
    await pay(server.url, policies, 1)
    found = await quota("show", "--policies", policies, "--store", server.url, "--merchant", "m_active")
    lines = found.output.splitlines()
    assert lines[0].split() == ["quota", "operation", "mode", "limit", "used", "remaining", "resets_at"]
    assert lines[2].split()[:5] == ["day", "enforce", "1000", "400", "600"]
    assert all(len(line) <= 120 for line in lines)


async def reset(url: str, policies: Path, quota_id: str) -> Result:
    return await quota(
        "reset", "--policies", policies, "--store", url, "--merchant", "m_active", "--quota", quota_id,
        "--operator", "ops-on-call", "--reason", "charged twice by a test run",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["day", "last_hour", "cards"])
async def test_reset_begins_one_quota_anew_and_leaves_who_said_so(server, policies, name):
    for number in (1, 2):
        await pay(server.url, policies, number)
    before = await shown(server.url, policies)
    result = await reset(server.url, policies, name)
    assert result.exit_code == 0, result.output
    after = await shown(server.url, policies)
    assert after[name]["used"] == 0
    assert {key: row.get("used") for key, row in after.items() if key != name} == {
        key: row.get("used") for key, row in before.items() if key != name
    }
    printed = json.loads(result.output)
    assert (printed["operator"], printed["reason"]) == ("ops-on-call", "charged twice by a test run")
    assert (printed["quota"], printed["used"], printed["counters"]) == (name, str(before[name]["used"]), "1")
    async with administrator(server.url) as admin:
        (kept,) = await admin.lrange(resets_key("m_active"), 0, -1)
    assert {**json.loads(kept), "at": printed["at"]} == printed
    assert isinstance(await pay(server.url, policies, 3, 200), WithinLimit)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("held", "payments whose outcome is open would be given back"),
        ("open", "requests in flight end by themselves"),
        ("single", "compares each payment by itself"),
        ("each_card", "each card has a counter of its own"),
        ("everybody", "belongs to the platform"),
        ("nothing", "no quota of this merchant has that id"),
    ],
)
async def test_what_cannot_be_reset_is_left_alone(server, policies, name, why):
    await pay(server.url, policies, 1)
    before = await shown(server.url, policies)
    result = await reset(server.url, policies, name)
    assert (result.exit_code, why in result.output) == (2, True), result.output
    assert await shown(server.url, policies) == before


async def test_a_record_that_cannot_be_written_keeps_the_count(server, policies):
    await pay(server.url, policies, 1)
    async with administrator(server.url) as admin:
        await admin.set(resets_key("m_active"), "not a list")
    result = await reset(server.url, policies, "day")
    assert result.exit_code == 2
    assert (await shown(server.url, policies))["day"]["used"] == 400


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--store", "redis://127.0.0.1:1", "--merchant", "m_active"), "the store gave no answer"),
        (("--store", "memory:", "--merchant", "m_active"), "--store must be the store that the replicas count in"),
        (("--store", "redis://u:secret@127.0.0.1:1", "--merchant", "m_active"), "--store holds a password"),
        (("--store", "redis://127.0.0.1:1", "--merchant", "m_ghost"), "the policy set knows no such merchant"),
    ],
)
async def test_show_refuses_in_words(policies, words, why):
    result = await quota("show", "--policies", policies, *words)
    assert (result.exit_code, why in result.output, "secret" in result.output) == (2, True, False), result.output


@pytest.mark.slow
async def test_a_cluster_is_looked_at_and_reset_where_the_merchant_stands(tmp_path, policies):
    async with clustered(tmp_path) as cluster:
        rows = await shown(cluster.url, policies)
        assert {name for name, row in rows.items() if row.get("used") == 0} == set(rows) - {"single", "each_card"}
        result = await reset(cluster.url, policies, "day")
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)["counters"] == "0"


async def test_show_says_how_much_of_a_leased_quota_may_be_drawn_and_unspent(server, policies):
    leased = "  - {id: leased, owner: a, metric: count, interval: daily, operations: [create_payment], limit: 100000,"
    file = policies / "quotas.yaml"
    file.write_text(file.read_text() + leased + " coordination: leased}\n")
    rows = await shown(server.url, policies)
    assert rows["leased"]["drawn_by_each_replica_up_to"] == largest_share(100_000)
    assert "drawn_by_each_replica_up_to" not in rows["day"]
