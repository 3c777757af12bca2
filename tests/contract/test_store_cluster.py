"""A cluster as a store: merchants in many slots, nodes that are killed and emptied, a slot that moves."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.clock import SystemClock
from chassis.store_cluster import StoreCluster, slot_of
from chassis.store_epochs import accept_empty_slots, epoch_key
from chassis.store_link import StoreSettings, StoreUnavailable
from chassis.store_nodes import SLOTS, ClusterNodes
from chassis.store_watch import StoreWatch
from helpers.store_fleets import Cluster, Server, clustered
from helpers.waiting import until_told
from ratelimit.ledger import Entry, Hold, Outcome, Posting, Settled, Settlement, Status
from ratelimit.store_ledger import StoreLedger, ledger_scripts
from tollhouse.__main__ import app

CLOCK = SystemClock()
QUICK = StoreSettings(first_backoff_seconds=0.01, max_backoff_seconds=0.1, connect_timeout_seconds=2.0)
MERCHANTS = [f"tollhouse:1:{{m_{number}}}:q" for number in range(60)]


@asynccontextmanager
async def counting(url: str) -> AsyncIterator[StoreLedger]:
    counters = StoreLedger.from_url(url, CLOCK, replace(QUICK, watch=StoreWatch("a")))
    await counters.start()
    try:
        yield counters
    finally:
        await counters.stop()


async def charge(counters: StoreLedger, key: str) -> int | None:
    """Return the count after one charge of two counters of a merchant; None without an answer, which comes in time."""
    deadline = CLOCK.monotonic() + 2.0
    try:
        result = await counters.post(Posting([Entry(key, 10**6, 1, 600), Entry(f"{key}2", 10**6, 1, 600)]), deadline)
    except StoreUnavailable:
        assert CLOCK.monotonic() < deadline + 1.0
        return None
    return result.readings[0].used


def held_by(fleet: Cluster, node: Server) -> list[str]:
    return [key for key in MERCHANTS if fleet.owner(slot_of(key)) is node]


async def test_merchants_in_all_slots_are_counted_exactly_by_two_replicas(tmp_path: Path):
    async with clustered(tmp_path) as fleet, counting(fleet.url) as one, counting(fleet.url) as other:
        pairs = [(replica, key) for key in MERCHANTS for replica in (one, other) for _ in range(5)]
        await asyncio.gather(*(charge(replica, key) for replica, key in pairs))
        assert [await charge(one, key) for key in MERCHANTS] == [11] * len(MERCHANTS)
        assert all(held_by(fleet, node) for node in fleet.nodes)
        assert [one.doubt_about(key) for key in MERCHANTS] == [""] * len(MERCHANTS)


async def test_node_that_was_killed_takes_its_own_merchants_along_and_is_in_doubt_when_it_is_back(tmp_path: Path):
    async with clustered(tmp_path) as fleet, counting(fleet.url) as counters:
        gone = fleet.nodes[1]
        for key in MERCHANTS:
            assert await charge(counters, key) == 1
        gone.send_signal(signal.SIGKILL)
        assert gone.process is not None
        await asyncio.to_thread(gone.process.wait)
        for key in MERCHANTS:
            assert await charge(counters, key) == (None if fleet.owner(slot_of(key)) is gone else 2)
        await gone.start()
        key = held_by(fleet, gone)[0]
        await until_told(partial(charge, counters, key))
        assert counters.doubt_about(key) == "the store was emptied: it has no epoch"
        assert counters.doubt_about(held_by(fleet, fleet.nodes[0])[0]) == ""


async def test_node_that_was_emptied_is_in_doubt_at_once_until_it_is_accepted(tmp_path: Path):
    async with clustered(tmp_path) as fleet, counting(fleet.url) as counters:
        emptied, other = fleet.nodes[2], fleet.nodes[0]
        ours, theirs = held_by(fleet, emptied)[0], held_by(fleet, other)[0]
        assert (await charge(counters, ours), await charge(counters, theirs)) == (1, 1)
        await emptied.client.flushall()
        assert (await charge(counters, ours), await charge(counters, theirs)) == (1, 2)
        assert counters.doubt_about(ours) == "the store was emptied: it has no epoch"
        assert counters.doubt_about(theirs) == ""
        assert counters.is_doubted
        assert counters.warnings()[0] == "the store was emptied: it has no epoch"
        await accept_empty_slots(ClusterNodes(fleet.url, 2.0), "b", "night shift", "burnt")
        assert await charge(counters, ours) is not None
        assert counters.doubt_about(ours) == ""
        assert await charge(counters, theirs) == 3
        assert counters.doubt_about(theirs) == ""


async def test_no_process_gives_an_emptied_node_new_epochs(tmp_path: Path):
    async with clustered(tmp_path) as fleet:
        async with counting(fleet.url) as counters:
            assert await charge(counters, MERCHANTS[0]) == 1
        # As if the cluster had been in use for a while: it is told from one that several processes are starting on.
        nodes = ClusterNodes(fleet.url, 2.0)
        old = b"born-0000000000000001-" + b"a" * 40
        for emptied in fleet.nodes:
            for node, slot in zip(fleet.nodes, fleet.first_slots, strict=True):
                await node.client.set(epoch_key(slot), old)
            await emptied.client.flushall()
            async with counting(fleet.url) as later:
                ours = held_by(fleet, emptied)[0]
                await charge(later, ours)
                assert later.doubt_about(ours) == "the store was emptied: it has no epoch"
            await accept_empty_slots(nodes, "b", "night shift", "burnt")


async def test_slot_that_moves_keeps_its_counts_and_its_epoch(tmp_path: Path):
    async with clustered(tmp_path) as fleet, counting(fleet.url) as counters:
        source, target = fleet.nodes[0], fleet.nodes[1]
        moving, *staying = held_by(fleet, source)
        slot = slot_of(moving)
        assert await charge(counters, moving) == 1
        await fleet.begin_move(slot, source, target)
        # Its keys are still there, so the source answers; a counter that is not is asked for elsewhere, and refused.
        assert await charge(counters, moving) == 2
        assert await charge(counters, moving.replace(":q", ":new")) is None
        assert await charge(counters, staying[0]) == 1
        await fleet.end_move(slot, source, target)
        await until_told(partial(charge, counters, moving))
        assert await charge(counters, moving) == 4
        assert await charge(counters, staying[0]) == 2
        assert counters.doubt_about(moving) == ""


async def test_scripts_flushed_on_a_node_are_loaded_again(tmp_path: Path):
    async with clustered(tmp_path) as fleet, counting(fleet.url) as counters:
        key = held_by(fleet, fleet.nodes[0])[0]
        assert await charge(counters, key) == 1
        await fleet.nodes[0].client.script_flush()
        assert await charge(counters, key) is None
        assert await until_told(partial(charge, counters, key)) == 2


async def test_cluster_that_is_away_at_the_start_is_found_later(tmp_path: Path):
    async with clustered(tmp_path) as fleet:
        for node in fleet.nodes:
            node.send_signal(signal.SIGSTOP)
        async with counting(fleet.url) as counters:
            assert not counters.is_available
            assert await charge(counters, MERCHANTS[0]) is None
            for node in fleet.nodes:
                node.send_signal(signal.SIGCONT)
            assert await until_told(partial(charge, counters, MERCHANTS[0])) == 1


async def test_ledger_posts_and_settles_in_a_cluster_and_knows_an_emptied_node(tmp_path: Path):
    async with clustered(tmp_path) as fleet:
        ledger = StoreLedger.from_url(fleet.url, CLOCK, replace(QUICK, watch=StoreWatch("a")))
        await ledger.start()
        deadline = CLOCK.monotonic() + 10
        for key in MERCHANTS[:20]:
            hold = Hold(key.replace(":q", ":h"), "d", "EUR 5", 60)
            entry = Entry(key, 9, 5, 60, is_once=True, is_held=True)
            assert (await ledger.post(Posting([entry], hold=hold), deadline)).status is Status.CHARGED
            released = Settlement(hold.key, "d", "EUR 5", Outcome.RELEASED)
            assert await ledger.settle(released, deadline) is Settled.DONE
            assert (await ledger.post(Posting([Entry(key, 9, 6, 60)]), deadline)).status is Status.CHARGED
        assert not ledger.is_doubted
        emptied = fleet.owner(slot_of(MERCHANTS[0]))
        await emptied.client.flushall()
        await ledger.post(Posting([Entry(MERCHANTS[0], 9, 1, 60)]), deadline)
        assert ledger.doubt_about(MERCHANTS[0]) == "the store was emptied: it has no epoch"
        await ledger.stop()


async def test_operator_looks_at_a_cluster_and_accepts_it(tmp_path: Path):
    async with clustered(tmp_path) as fleet:
        words = ("--store", fleet.url, "--operator", "night shift", "--reason", "burnt")
        accepted = await asyncio.to_thread(CliRunner().invoke, app, ("store", "accept-empty", *words))
        assert accepted.exit_code == 0, accepted.output
        epoch = json.loads(accepted.stdout)["epoch"]
        for node, slot in zip(fleet.nodes, fleet.first_slots, strict=True):
            assert await node.client.get(epoch_key(slot)) == epoch.encode()
        status = await asyncio.to_thread(CliRunner().invoke, app, ("store", "status", "--store", fleet.url))
        assert status.exit_code == 0, status.output
        assert status.stdout.count("eviction     noeviction") == 3
        assert status.stdout.count(epoch) >= 1


def test_epoch_of_a_slot_lies_in_it():
    assert [slot_of(epoch_key(slot)) for slot in range(SLOTS)] == list(range(SLOTS))


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://host.test:hunter2",
        "redis+cluster://host.test/3",
        "redis+cluster://host.test?hunter2",
        "redis+cluster://user:hunter2/x@host.test",
        "rediss+cluster://host.test?ssl_cert_reqs=none",
    ],
)
def test_cluster_url_that_is_not_understood_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match=r"\Astore URL: ") as refusal:
        StoreCluster(url, ledger_scripts(), clock=CLOCK, settings=QUICK)
    assert "hunter2" not in str(refusal.value)


async def test_a_group_is_charged_beside_its_merchant_undone_with_it_and_settled_with_it(tmp_path: Path):
    group, platform = "tollhouse:1:{=g:1}:q", "tollhouse:1:{=p}:q"
    async with clustered(tmp_path) as fleet, counting(fleet.url) as ledger:
        deadline = CLOCK.monotonic() + 20
        for number, merchant in enumerate(MERCHANTS[:20]):
            keys = (merchant, group, platform)
            assert len({slot_of(key) for key in keys}) == 3
            entries = [Entry(key, 9, 5, 60, is_once=True, is_held=True) for key in keys]
            hold = Hold(merchant.replace(":q", ":h"), f"d{number}", "EUR 5", 60)
            posted = await ledger.post(Posting(entries, hold=hold), deadline)
            assert (posted.status, [reading.used for reading in posted.readings]) == (Status.CHARGED, [5, 5, 5])
            second = Posting(entries, hold=hold._replace(key=f"{hold.key}2"))
            assert (await ledger.post(second, deadline)).status is Status.OVER
            full = Posting([Entry(merchant, 4, 1, 60), *(Entry(key, 99, 1, 60) for key in keys[1:])])
            refused = await ledger.post(full, deadline)
            assert [reading.used for reading in refused.readings] == [5, 5, 5]
            released = Settlement(hold.key, hold.decision_id, "EUR 5", Outcome.RELEASED)
            assert await ledger.settle(released, deadline) is Settled.DONE
            looks = Posting([Entry(key, 9, 0, 60) for key in keys])
            assert [reading.used for reading in (await ledger.post(looks, deadline)).readings] == [0, 0, 0]
