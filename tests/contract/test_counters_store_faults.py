"""Counters that hold no count, and arguments no caller of ours sends: nothing is written for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from chassis.clock import SystemClock
from chassis.store_link import StoreLink, StoreUnavailable
from helpers.ledgers import charged
from helpers.valkey import SERVERS, administrator, running
from ratelimit.ledger import MAX_COUNT, MAX_EXPIRY_SECONDS, CounterFault, Entry, Posting, Reading
from ratelimit.store_ledger import StoreLedger, ledger_scripts

CLOCK = SystemClock()


@pytest.fixture(params=SERVERS)
async def admin(request: pytest.FixtureRequest) -> AsyncIterator[redis.asyncio.Redis]:
    async with running(request.param) as server, administrator(server.url) as client:
        client.server_url = server.url
        yield client


@pytest.fixture
async def counters(admin: redis.asyncio.Redis) -> AsyncIterator[StoreLedger]:
    opened = StoreLedger.from_url(admin.server_url, CLOCK)
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def link(admin: redis.asyncio.Redis) -> AsyncIterator[StoreLink]:
    opened = StoreLink(admin.server_url, ledger_scripts(), clock=CLOCK)
    await opened.start()
    yield opened
    await opened.stop()


NO_COUNTS = [
    "abc", "", "-1", "+1", "1.0", "1e3", "0x10", "007", " 5", "5\n", "5\0", "inf", "nan", "-0",
    "9007199254740992", "9007199254740993", "9" * 16, "9" * 17, "1" + "0" * 300, "9223372036854775808",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_COUNTS)
async def test_counter_that_holds_no_count_fails_its_hit_alone(admin, counters, value):
    await admin.set("poisoned", value)
    await _only_the_middle_one_fails(admin, counters)
    assert await admin.get("poisoned") == value.encode()


@pytest.mark.parametrize("kind", ["list", "hash", "set", "sorted set", "stream"])
async def test_key_of_another_type_fails_its_hit_alone(admin, counters, kind):
    fill = {
        "list": admin.rpush("poisoned", "5"),
        "hash": admin.hset("poisoned", "5", "5"),
        "set": admin.sadd("poisoned", "5"),
        "sorted set": admin.zadd("poisoned", {"5": 5}),
        "stream": admin.xadd("poisoned", {"5": 5}),
    }
    for name, made in fill.items():
        if name == kind:
            await made
        else:
            made.close()
    await _only_the_middle_one_fails(admin, counters)


async def _only_the_middle_one_fails(admin: redis.asyncio.Redis, counters: StoreLedger) -> None:
    deadline = CLOCK.monotonic() + 5
    sound = Entry("sound", 10, 1, 60)
    before, poisoned, shadow, after = await asyncio.gather(
        counters.post(Posting([sound]), deadline),
        counters.post(Posting([sound, Entry("poisoned", MAX_COUNT, 1, 60), Entry("other", 10, 1, 60)]), deadline),
        counters.post(Posting([sound, Entry("poisoned", MAX_COUNT, 1, 60, is_shadow=True)]), deadline),
        counters.post(Posting([sound]), deadline),
        return_exceptions=True,
    )
    assert isinstance(poisoned, CounterFault)
    assert isinstance(shadow, CounterFault)
    assert before == charged((Reading(1, False),))
    assert after == charged((Reading(2, False),))
    assert await admin.get("other") is None
    assert await admin.get("sound") == b"2"


@pytest.mark.parametrize("value", [0, 1, MAX_COUNT - 1, MAX_COUNT])
async def test_count_up_to_the_largest_is_read_exactly(admin, counters, value):
    await admin.set("a", value)
    result = await counters.post(Posting([Entry("a", MAX_COUNT, 0, 60)]), CLOCK.monotonic() + 5)
    assert result == charged((Reading(value, False),))


async def test_largest_count_is_kept_in_full(admin, counters):
    await counters.post(Posting([Entry("a", MAX_COUNT, MAX_COUNT, 60)]), CLOCK.monotonic() + 5)
    assert await admin.get("a") == b"9007199254740991"


async def test_hit_cancelled_before_it_is_sent_is_not_charged(admin, counters):
    deadline = CLOCK.monotonic() + 5
    cancelled = asyncio.create_task(counters.post(Posting([Entry("a", 9, 1, 60)]), deadline))
    kept = asyncio.create_task(counters.post(Posting([Entry("a", 9, 2, 60)]), deadline))
    # One step: both hits wait for the end of the tick, the call is not out yet.
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await kept == charged((Reading(2, False),))
    assert cancelled.cancelled()


async def test_every_counter_written_has_an_end(admin, counters):
    await admin.set("endless", 3)
    await counters.post(
        Posting([Entry("endless", 10, 1, 60), Entry("new", 10, 1, MAX_EXPIRY_SECONDS)]), CLOCK.monotonic() + 5
    )
    assert 0 < await admin.ttl("endless") <= 60
    assert MAX_EXPIRY_SECONDS - 60 < await admin.ttl("new") <= MAX_EXPIRY_SECONDS


GOOD = ["1", "10", "1", "60", "0"]


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        pytest.param(["a"], [], id="nothing"),
        pytest.param(["a"], ["0"], id="no hit"),
        pytest.param(["a"], ["129"], id="too many hits"),
        pytest.param(["a"], ["1", "0"], id="no charge"),
        pytest.param(["a"], ["2", "1", *GOOD], id="a hit missing"),
        pytest.param(["a"], ["1", "1", *GOOD[:4]], id="an argument missing"),
        pytest.param(["a"], ["1", "1", *GOOD, "1"], id="an argument too many"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "2", *GOOD[1:]], id="a key that is not there"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "0", *GOOD[1:]], id="key zero"),
        pytest.param(["a"], ["1", "2", *GOOD, *GOOD], id="a key twice in a hit"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "9007199254740992", "1", "60", "0"], id="limit too large"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "9007199254740993", "60", "0"], id="cost too large"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "-1", "60", "0"], id="cost negative"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "1.5", "60", "0"], id="cost no whole number"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "nan", "60", "0"], id="cost no number"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "1", "0", "0"], id="no time to live"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "1", "316224001", "0"], id="time to live too long"),
        pytest.param(["a"], ["2", "1", *GOOD, "1", "1", "10", "1", "60", "2"], id="shadow neither yes nor no"),
    ],
)
async def test_call_with_a_wrong_argument_writes_nothing_at_all(admin, link, keys, arguments):
    with pytest.raises(StoreUnavailable, match="answered with an error"):
        await link.call("hit", keys, arguments, CLOCK.monotonic() + 5)
    assert await admin.dbsize() == 0
