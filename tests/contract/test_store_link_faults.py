"""A real store that is paused, killed and reset under 64 calls in flight.

Every caller has a counter of its own, told apart by its count: no caller may ever get another's reading.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from helpers.store_faults import Proxy, proxied, until
from helpers.valkey import SERVERS, administrator, embedded, running
from ratelimit.ledger import Entry, Posting
from ratelimit.store_ledger import StoreLedger, ledger_scripts, pack_hits
from tollhouse.embedded_store import EmbeddedStore

CLOCK = SystemClock()
CALLERS = 64
SPAN = 10**6
QUICK = StoreSettings(
    connect_timeout_seconds=0.5, reply_timeout_seconds=0.4, first_backoff_seconds=0.01, max_backoff_seconds=0.05
)
PATIENT = StoreSettings(reply_timeout_seconds=60.0)


@asynccontextmanager
async def linked(url: str, settings: StoreSettings = QUICK) -> AsyncIterator[StoreLink]:
    link = StoreLink(url, ledger_scripts(), clock=CLOCK, settings=settings)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()


async def read(link: StoreLink, caller: int, *, seconds: float = 5.0) -> int | Unavailability:
    """Charge the caller's own counter once, by a call of its own; return its count."""
    keys, arguments = pack_hits([Posting([Entry(f"caller:{caller}", (caller + 1) * SPAN, 1, 3600)])], 0)
    try:
        ((status, used, over),) = await link.call("hit", keys, arguments, CLOCK.monotonic() + seconds)
    except StoreUnavailable as error:
        return error.why
    assert (status, over) == (1, 0)
    return used


async def seed(url: str) -> None:
    """Give each caller's counter a range of its own."""
    async with administrator(url) as admin:
        await admin.mset({f"caller:{caller}": caller * SPAN for caller in range(CALLERS)})


@dataclass
class Load:
    """64 callers that call without pause.

    Attributes:
        answered: Answers per caller since the last `mark`.
        refused: Refusals per caller since the last `mark`.
        strangers: Readings that belong to another caller, or go backwards.
    """

    link: StoreLink
    answered: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    strangers: list[tuple[int, int]] = field(default_factory=list)

    async def run(self, caller: int) -> None:
        while True:
            used = await read(self.link, caller, seconds=0.5)
            if isinstance(used, Unavailability):
                self.refused[caller] += 1
                await asyncio.sleep(0.01)
            else:
                self.answered[caller] += 1
                if not caller * SPAN < used < (caller + 1) * SPAN:
                    self.strangers.append((caller, used))

    async def until_all(self, counted: Counter[int], times: int) -> None:
        await until(lambda: all(counted[caller] >= times for caller in range(CALLERS)))

    def mark(self) -> None:
        self.answered.clear()
        self.refused.clear()


async def endure(
    link: StoreLink, seed_again: Callable[[], Awaitable[None]], fault: Callable[[], Awaitable[None]]
) -> None:
    """Run the load through a fault: all are answered, refused, and answered again; nobody is confused."""
    load = Load(link)
    tasks = [asyncio.create_task(load.run(caller)) for caller in range(CALLERS)]
    try:
        await load.until_all(load.answered, 3)
        load.mark()
        await fault()
        await load.until_all(load.refused, 1)
        await seed_again()
        load.mark()
        await load.until_all(load.answered, 3)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert load.strangers == []
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


@pytest.fixture(params=SERVERS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as server:
        await seed(server.url)
        yield server


async def test_store_paused_under_load_confuses_nobody(store):
    async def pause() -> None:
        os.kill(store.pid, signal.SIGSTOP)

    async def resume() -> None:
        os.kill(store.pid, signal.SIGCONT)

    async with linked(store.url) as link:
        await endure(link, resume, pause)


async def test_store_killed_under_load_confuses_nobody(store):
    async def start_again() -> None:
        # Empty after its restart: a caller may count from nothing before the ranges are there again.
        await store.stop()
        await store.start()
        await seed(store.url)

    async with linked(store.url) as link:
        load = Load(link)
        tasks = [asyncio.create_task(load.run(caller)) for caller in range(CALLERS)]
        await load.until_all(load.answered, 3)
        os.kill(store.pid, signal.SIGKILL)
        load.mark()
        await load.until_all(load.refused, 1)
        assert load.strangers == []
        await start_again()
        load.mark()
        await load.until_all(load.answered, 20)
        load.strangers.clear()
        load.mark()
        await load.until_all(load.answered, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert load.strangers == []


def _reset(proxy: Proxy) -> None:
    proxy.reset()


def _cut(proxy: Proxy) -> None:
    proxy.cut()


def _cut_inside_a_reply(proxy: Proxy) -> None:
    proxy.cut_reply_after = 1003


@pytest.mark.parametrize("fault", [_reset, _cut, _cut_inside_a_reply], ids=["reset", "closed", "cut inside a reply"])
async def test_connection_that_breaks_under_load_confuses_nobody(store, fault):
    async with proxied(store.url) as proxy, linked(proxy.url) as link:
        load = Load(link)
        tasks = [asyncio.create_task(load.run(caller)) for caller in range(CALLERS)]
        for _ in range(3):
            await load.until_all(load.answered, 3)
            load.mark()
            fault(proxy)
            await until(lambda: load.refused.total() >= CALLERS)
            load.mark()
        await load.until_all(load.answered, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert load.strangers == []


async def test_client_killed_by_an_operator_connects_again(store):
    async with linked(store.url) as link, administrator(store.url) as admin:

        async def kill() -> None:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        async def nothing() -> None:
            return

        await endure(link, nothing, kill)


async def test_short_deadlines_during_a_pause_are_kept_and_the_order_too(store):
    async with linked(store.url, PATIENT) as link:
        assert await read(link, 0) == 1
        channel = link._channel
        os.kill(store.pid, signal.SIGSTOP)
        given_up = await asyncio.gather(*(read(link, caller, seconds=0.05) for caller in range(CALLERS)))
        assert set(given_up) == {Unavailability.DEADLINE}
        os.kill(store.pid, signal.SIGCONT)
        # Each of those calls ran, late: its caller was told no, so the count is on the safe side.
        readings = await asyncio.gather(*(read(link, caller, seconds=10) for caller in reversed(range(CALLERS))))
        assert readings == [caller * SPAN + 2 + (caller == 0) for caller in reversed(range(CALLERS))]
        assert link._channel is channel


async def test_caller_cancelled_during_a_pause_disturbs_no_other(store):
    async with linked(store.url, PATIENT) as link:
        os.kill(store.pid, signal.SIGSTOP)
        waiting = [asyncio.create_task(read(link, caller, seconds=10)) for caller in range(CALLERS)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
        os.kill(store.pid, signal.SIGCONT)
        assert await asyncio.gather(*waiting[1::2]) == [caller * SPAN + 1 for caller in range(1, CALLERS, 2)]
        assert all(task.cancelled() for task in waiting[::2])


async def test_paused_store_ends_the_connection_when_the_oldest_call_is_too_old(store):
    async with linked(store.url) as link:
        os.kill(store.pid, signal.SIGSTOP)
        assert await read(link, 0, seconds=30) is Unavailability.SLOW
        assert not link.is_connected
        assert await read(link, 0, seconds=30) is Unavailability.NOT_CONNECTED
        os.kill(store.pid, signal.SIGCONT)
        await until(lambda: link.is_connected)
        # The first call may have run after all; the second was never sent.
        assert await read(link, 0) in (1, 2)


async def test_scripts_flushed_while_running_are_loaded_again(store):
    async with linked(store.url) as link, administrator(store.url) as admin:
        assert await read(link, 3) == 3 * SPAN + 1
        await admin.script_flush()
        assert await read(link, 3) is Unavailability.ERROR_REPLY
        await until(lambda: link.is_connected)
        assert await read(link, 3) == 3 * SPAN + 2


@pytest.mark.parametrize(
    ("trouble", "relief"),
    [
        pytest.param(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), id="OOM"),
        pytest.param(("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), id="READONLY"),
    ],
)
async def test_store_that_refuses_to_write_charges_nothing(store, trouble, relief):
    counters = StoreLedger.from_url(store.url, CLOCK, QUICK)
    await counters.start()
    charges = [Entry("caller:1", 2 * SPAN, 1, 60), Entry("fresh", 9, 1, 60)]
    async with administrator(store.url) as admin:
        await admin.execute_command(*trouble)
        refused = await asyncio.gather(
            *(counters.post(Posting(charges), CLOCK.monotonic() + 5) for _ in range(3)), return_exceptions=True
        )
        assert [getattr(error, "why", error) for error in refused] == [Unavailability.ERROR_REPLY] * 3
        await admin.execute_command(*relief)
    await until(lambda: counters.is_available)
    result = await counters.post(Posting(charges), CLOCK.monotonic() + 5)
    assert [reading.used for reading in result.readings] == [SPAN + 1, 1]
    await counters.stop()


async def test_store_away_at_start_is_found_once_it_is_there():
    server = embedded()
    url = await server.start()
    await server.stop()
    try:
        async with linked(url) as link:
            assert not link.is_connected
            assert await read(link, 0) is Unavailability.NOT_CONNECTED
            await server.start()
            await until(lambda: link.is_connected)
            assert await read(link, 0) == 1
    finally:
        await server.close()


async def test_login_with_the_right_password_works_and_with_a_wrong_one_never_logs_it(store, caplog):
    async with administrator(store.url) as admin:
        await admin.config_set("requirepass", "right-horse")
        async with linked(store.url.replace("unix://", "unix://:right-horse@")) as link:
            assert await read(link, 5) == 5 * SPAN + 1
        async with linked(store.url.replace("unix://", "unix://:wrong-horse@")) as link:
            assert not link.is_connected
        assert "store_connect_failed" in caplog.text
        assert "horse" not in caplog.text
