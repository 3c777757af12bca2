"""`tollhouse revoke`: what it writes into a real store, what it says about it, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner, Result

from chassis.clock import SystemClock
from extauthz.tokens.revocations import REMEMBERED_SECONDS, Place, Revocation
from extauthz.tokens.store_revocations import StoreRevocations
from helpers.valkey import SERVERS, running
from tollhouse.__main__ import app
from tollhouse.embedded_store import EmbeddedStore
from tollhouse.revoke_command import RevokeWords, entry_of
from tollhouse.store_command import StoreRefused

ISSUER = "https://issuer.example.test"
WHO = ("--operator", "night shift", "--reason", "a lost phone")
CLOCK = SystemClock()


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as store:
        yield store


async def revoke(*words: str, typed: str | None = None) -> Result:
    # In a thread: the command runs an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, ("revoke", *words), input=typed)


async def stored(url: str) -> tuple[Revocation, ...]:
    store = StoreRevocations.from_url(url, CLOCK)
    await store.start()
    try:
        return (await store.read(Place(), CLOCK.monotonic() + 5)).entries
    finally:
        await store.stop()


async def test_what_is_revoked_is_written_printed_and_listed(server):
    at = ("--store", server.url, "--issuer", ISSUER)
    before = CLOCK.wall()
    for words in (("--jti", "t-1"), ("--sid", "s-1"), ("--sub", "alice", "--not-before", "2026-01-31T10:00:00Z")):
        result = await revoke(*at, *words, *WHO)
        assert result.exit_code == 0, result.output
        record = json.loads(result.stdout)
        assert record[words[0][2:]] == words[1]
        assert (record["operator"], record["reason"], record["issuer"]) == ("night shift", "a lost phone", ISSUER)
        assert "not known here" in record["effect"]
    assert (await revoke(*at, "--jti", "t-1", *WHO)).exit_code == 0
    entries = await stored(server.url)
    assert {(entry.kind, entry.value, entry.not_before) for entry in entries} == {
        ("jti", "t-1", 0.0),
        ("sid", "s-1", 0.0),
        ("sub", "alice", 1769853600.0),
    }
    assert all(
        before + REMEMBERED_SECONDS <= entry.expires_at <= CLOCK.wall() + REMEMBERED_SECONDS for entry in entries
    )
    listed = await revoke("--store", server.url, "--list")
    assert listed.exit_code == 0
    assert listed.stderr == "3 revoked\n"
    lines = [json.loads(line) for line in listed.stdout.splitlines()]
    assert {line["issuer"] for line in lines} == {ISSUER}
    assert {line["sub"]: line["not_before"] for line in lines if "sub" in line} == {"alice": "2026-01-31T10:00:00Z"}
    assert {line.get("jti") or line.get("sid") for line in lines} == {"t-1", "s-1", None}


async def test_subject_can_be_typed_so_that_no_process_list_shows_it(server):
    at = ("--store", server.url, "--issuer", ISSUER)
    before = CLOCK.wall()
    assert (await revoke(*at, "--sub", "-", *WHO, typed="alice@example.test\n")).exit_code == 0
    (entry,) = await stored(server.url)
    assert (entry.kind, entry.value) == ("sub", "alice@example.test")
    assert before <= entry.not_before <= CLOCK.wall()


async def test_end_that_the_operator_sets_is_warned_of(server):
    until = str(int(CLOCK.wall()) + 600)
    result = await revoke("--store", server.url, "--issuer", ISSUER, "--jti", "t-1", "--until", until, *WHO)
    assert result.exit_code == 0
    assert "good again" in result.stderr
    (entry,) = await stored(server.url)
    assert entry.expires_at == float(until)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jti", "a"), "--issuer is needed"),
        (("--issuer", ISSUER), "one of --jti, --sid and --sub"),
        (("--issuer", ISSUER, "--jti", "a", "--sid", "b"), "one of --jti, --sid and --sub"),
        (("--issuer", ISSUER, "--jti", ""), "--jti must be"),
        (("--issuer", ISSUER, "--sub", "a" * 513), "--sub must be"),
        (("--issuer", ISSUER, "--jti", "a", "--not-before", "1"), "--not-before goes with --sub"),
        (("--issuer", ISSUER, "--sub", "a", "--not-before", "yesterday"), "--not-before must be a time"),
        (("--issuer", ISSUER, "--sub", "a", "--not-before", "2026-01-31T10:00:00"), "--not-before must be a time"),
        (("--issuer", ISSUER, "--sub", "a", "--not-before", "nan"), "--not-before must be a time"),
        (("--issuer", ISSUER, "--sub", "a", "--not-before", "99999999999"), "--not-before lies ahead"),
        (("--issuer", ISSUER, "--jti", "a", "--until", "1"), "--until must lie ahead"),
        (("--issuer", ISSUER, "--jti", "a", "--until", "99999999999"), "--until must lie ahead"),
        (("--list", "--jti", "a"), "--list changes nothing"),
    ],
)
def test_mistake_is_one_line_and_nothing_is_sent(words, said):
    result = CliRunner().invoke(app, ("revoke", "--store", "redis://127.0.0.1:1", *words, *WHO))
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store", "memory:"), "--store must be the store"),
        (("--store", "redis+cluster://127.0.0.1:1"), "--store must be the store"),
        (("--store", "redis://:hunter2@127.0.0.1:1"), "--store holds a password"),
        (("--store", "mysql://hunter2"), "--store: store URL"),
        (("--store", "redis://127.0.0.1:1", "--operator", ""), "--operator must be"),
        (("--store", "redis://127.0.0.1:1"), "no answer, so nothing is certain"),
    ],
)
def test_store_that_cannot_be_used_is_said_without_repeating_it(words, said):
    result = CliRunner().invoke(app, ("revoke", "--issuer", ISSUER, "--jti", "a", *WHO, *words))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "hunter2" not in result.output


def test_text_that_no_token_can_hold_is_refused():
    with pytest.raises(StoreRefused):
        entry_of(RevokeWords(ISSUER, ("\ud800", None, None), None, None), 1_700_000_000.0)
