"""A store behind sentinels: its primary is killed, paused and demoted; the link follows to the promoted one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import hiredis
import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreSettings, StoreUnavailable
from chassis.store_places import store_opener
from chassis.store_url import StoreLogin
from chassis.store_watch import StoreWatch
from helpers.store_fleets import LOOPBACK, SERVICE, Guarded, guarded
from helpers.waiting import until_told
from ratelimit.ledger import Entry, Posting
from ratelimit.store_ledger import StoreLedger

CLOCK = SystemClock()
QUICK = StoreSettings(first_backoff_seconds=0.01, max_backoff_seconds=0.1, connect_timeout_seconds=2.0)
KEY = "tollhouse:1:{m}:q"


@asynccontextmanager
async def counting(url: str, settings: StoreSettings = QUICK) -> AsyncIterator[StoreLedger]:
    counters = StoreLedger.from_url(url, CLOCK, replace(settings, watch=StoreWatch("a")))
    await counters.start()
    try:
        yield counters
    finally:
        await counters.stop()


async def charge(counters: StoreLedger, seconds: float = 1.0) -> int | None:
    """Return the count after one charge; None without an answer, which comes in time."""
    deadline = CLOCK.monotonic() + seconds
    try:
        return (await counters.post(Posting([Entry(KEY, 10**6, 1, 600)]), deadline)).readings[0].used
    except StoreUnavailable:
        assert CLOCK.monotonic() < deadline + 1.0
        return None


async def charge_until_answered(counters: StoreLedger) -> int:
    used: int = await until_told(partial(charge, counters))
    return used


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_primary_that_is_away_is_left_for_the_promoted_replica(tmp_path: Path, how):
    async with guarded(tmp_path) as fleet, counting(fleet.url) as counters:
        for expected in range(1, 6):
            assert await charge(counters) == expected
        # What is counted has reached the replica: only then is a loss no excuse.
        assert await fleet.primary.client.wait(1, 5000) == 1
        fleet.primary.send_signal(how)
        assert await charge_until_answered(counters) > 5
        assert (await fleet.replica.client.info("replication"))["role"] == "master"
        assert counters.doubt_about(KEY) == ""  # the replica remembers the epoch


@pytest.mark.slow
async def test_failover_on_purpose_ends_the_link_to_the_demoted_primary(tmp_path: Path):
    async with guarded(tmp_path) as fleet, counting(fleet.url) as counters:
        assert await charge(counters) == 1
        assert await fleet.primary.client.wait(1, 5000) == 1
        await fleet.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        async with asyncio.timeout(30):
            while (await fleet.replica.client.info("replication"))["role"] != "master":
                await charge(counters)
            while (await fleet.primary.client.info("replication"))["role"] != "slave":
                await charge(counters)
        before = await charge_until_answered(counters)
        assert await charge(counters) == before + 1
        assert int(await fleet.replica.client.get(KEY)) == before + 1


@pytest.mark.slow
async def test_nothing_that_was_answered_is_lost_when_replicas_must_confirm(tmp_path: Path):
    confirmed = replace(QUICK, wait_replicas=1)
    async with guarded(tmp_path) as fleet, counting(fleet.url, confirmed) as counters:
        answered = 0

        async def pay() -> None:
            nonlocal answered
            while not fleet.is_primary_gone:
                answered += await charge(counters) is not None

        payers = [asyncio.create_task(pay()) for _ in range(32)]
        await until_told(partial(_is_above, 500, lambda: answered))
        fleet.kill_primary()
        await asyncio.gather(*payers)
        await until_told(partial(_is_promoted, fleet))
        assert int(await fleet.replica.client.get(KEY)) >= answered > 500


async def test_charge_that_no_replica_confirms_is_no_answer_and_stays_charged(tmp_path: Path):
    confirmed = replace(QUICK, wait_replicas=1)
    async with guarded(tmp_path) as fleet, counting(fleet.url, confirmed) as counters:
        assert await charge(counters) == 1
        fleet.replica.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="too few replicas"):
            await counters.post(Posting([Entry(KEY, 10**6, 1, 600)]), CLOCK.monotonic() + 5)
        fleet.replica.send_signal(signal.SIGCONT)
        assert await charge_until_answered(counters) >= 3


async def _is_above(bound: int, number: Callable[[], int]) -> bool:
    return number() > bound


async def _is_promoted(fleet: Guarded) -> bool:
    return bool((await fleet.replica.client.info("replication"))["role"] == "master")


async def test_first_sentinel_that_hangs_is_passed_over(tmp_path: Path):
    async with guarded(tmp_path, sentinels=2) as fleet:
        fleet.sentinels[0].send_signal(signal.SIGSTOP)
        async with counting(fleet.url) as counters:
            assert await charge_until_answered(counters) == 1


async def test_sentinels_with_a_password_are_asked_with_the_one_in_the_file(tmp_path: Path):
    path = tmp_path / "password"
    path.write_text("wrong\n")
    path.chmod(0o600)
    login = StoreLogin("", sentinel_password_file=str(path))
    settings = replace(QUICK, login=login)
    async with guarded(tmp_path, sentinel_password="open-sesame") as fleet, counting(fleet.url, settings) as counters:
        assert await charge(counters) is None
        path.write_text("open-sesame\n")
        assert await charge_until_answered(counters) == 1


async def test_sentinels_that_watch_no_such_service_leave_no_store(tmp_path: Path):
    async with guarded(tmp_path) as fleet, counting(fleet.url.replace(SERVICE, "other")) as counters:
        assert not counters.is_available
        assert await charge(counters) is None


async def test_replica_that_a_stale_sentinel_names_is_no_store(tmp_path: Path):
    async with guarded(tmp_path) as fleet, stale_sentinel(fleet.replica.port) as url:
        with pytest.raises(ValueError, match="the sentinels name a replica"):
            await store_opener(url, 5.0)()


@asynccontextmanager
async def stale_sentinel(port: int) -> AsyncIterator[str]:
    """A sentinel that was cut off: it goes on naming the server it knew as the primary."""
    state = {
        "name": SERVICE, "ip": LOOPBACK, "port": str(port), "flags": "master", "num-other-sentinels": "0",
    }  # fmt: skip
    words = [word for item in state.items() for word in item]
    said = f"*1\r\n*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                writer.write(said.encode() if command[0].upper() == b"SENTINEL" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    try:
        yield f"redis+sentinel://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/{SERVICE}"
    finally:
        server.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://host.test",
        "redis+sentinel://host.test:1,/hunter2",
        "redis+sentinel://host.test:hunter2/service",
        "redis+sentinel://user:hunter2/x@host.test/service",
        "redis+sentinel://host.test/service/hunter2",
        "redis+sentinel://host.test/service?hunter2",
        "redis+sentinel://host.test/service?protocol=3",
        "rediss+sentinel://host.test/service?ssl_cert_reqs=none",
        "rediss+sentinel://host.test/service?ssl_check_hostname=hunter2",
        f"redis+sentinel://{','.join(['host.test'] * 17)}/service",
    ],
)
def test_sentinel_url_that_is_not_understood_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match=r"\Astore URL: ") as refusal:
        store_opener(url, 1.0)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a.test,b.test:1234/service",
        "redis+sentinel://[::1]:26379,[::2]/service/3",
        "rediss+sentinel://user:p%2Fss@a.test/service?ssl_cert_reqs=required",
    ],
)
def test_sentinel_url_is_understood(url: str):
    store_opener(url, 1.0)
