"""`tollhouse store`: what it says about a real store, and what it writes into one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner, Result

from chassis.store_watch import ACCEPTANCES_KEY, EPOCH_KEY
from helpers.valkey import SERVERS, administrator, running
from tollhouse.__main__ import app
from tollhouse.embedded_store import EmbeddedStore


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as store:
        yield store


async def tollhouse(*words: str) -> Result:
    # In a thread: the command runs an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def test_status_says_what_the_store_is_and_changes_nothing(server):
    result = await tollhouse("store", "status", "--store", server.url)
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines.items() >= {"role": "master", "eviction": "noeviction", "persistence": "none", "epoch": "none"}.items()
    assert lines["amounts"] == "counted"
    async with administrator(server.url) as admin:
        assert await admin.dbsize() == 0


async def test_status_of_an_evicting_store_is_a_failure(server):
    async with administrator(server.url) as admin:
        await admin.config_set("maxmemory-policy", "volatile-ttl")
    result = await tollhouse("store", "status", "--store", server.url)
    assert result.exit_code == 1
    assert "amounts      not counted: the store evicts" in result.stdout


async def test_acceptance_is_printed_and_kept(server):
    words = ("--operator", "night shift", "--reason", 'a "new" machine')
    result = await tollhouse("store", "accept-empty", "--store", server.url, *words)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["operator"], record["reason"]) == ("night shift", 'a "new" machine')
    async with administrator(server.url) as admin:
        assert json.loads(await admin.lindex(ACCEPTANCES_KEY, -1)) == record
        assert (await admin.get(EPOCH_KEY)).decode() == record["epoch"]
    assert "accepted     {" in (await tollhouse("store", "status", "--store", server.url)).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status", "--store", "unix:///nowhere/store.sock"), "the store gave no answer: ConnectionError"),
        (("status", "--store", "http://hunter2"), "--store: store URL: must be"),
        (("status", "--store", "redis://:hunter2@127.0.0.1:1"), "--store holds a password"),
        (("status", "--store", "redis://127.0.0.1:1", "--store-username", "u"), "--store-username needs"),
        (("accept-empty", "--store", "redis://127.0.0.1:1", "--operator", " ", "--reason", "x"), "--operator must be"),
        (("accept-empty", "--store", "redis://127.0.0.1:1", "--operator", "a", "--reason", "x\ny"), "--reason must be"),
    ],
)
async def test_command_that_cannot_be_done_says_why_and_repeats_no_secret(words, said):
    result = await tollhouse("store", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "hunter2" not in result.output


async def test_acceptance_without_operator_or_reason_is_no_command(server):
    assert (await tollhouse("store", "accept-empty", "--store", server.url, "--reason", "x")).exit_code == 2
    assert (await tollhouse("store", "accept-empty", "--store", server.url, "--operator", "x")).exit_code == 2
