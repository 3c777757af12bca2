"""Random hits: every store agrees with a model of ten lines, and no counter passes a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.counter_stores import STORES, counter_store
from helpers.ledgers import charged, refused_with
from ratelimit.ledger import MAX_COUNT, Entry, PostResult, Reading

numbers = st.one_of(st.integers(0, 12), st.integers(MAX_COUNT - 3, MAX_COUNT), st.integers(0, MAX_COUNT))


def _plain(key: str, limit: int, cost: int, expires_in_seconds: int, is_shadow: bool) -> Entry:
    return Entry(key, limit, cost, expires_in_seconds, is_shadow=is_shadow)


charges = st.builds(
    _plain,
    key=st.sampled_from(["a", "b", "c", "d"]),
    limit=numbers,
    cost=numbers,
    expires_in_seconds=st.integers(1000, 2000),
    is_shadow=st.booleans(),
)
hits = st.lists(charges, min_size=1, max_size=4, unique_by=lambda charge: charge.key)
ticks = st.lists(st.lists(hits, min_size=1, max_size=6), min_size=1, max_size=4)


class Model:
    """The law of the stores, written for reading."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys("abcd", 0)

    def hit(self, asked: Sequence[Entry]) -> PostResult:
        found = {charge.key: self.counts[charge.key] for charge in asked}
        over = {charge.key: found[charge.key] + charge.cost > charge.limit for charge in asked}
        is_charged = not any(over[charge.key] for charge in asked if not charge.is_shadow)
        for charge in asked:
            if is_charged and not over[charge.key]:
                self.counts[charge.key] += charge.cost
        readings = tuple(Reading(self.counts[charge.key], over[charge.key]) for charge in asked)
        return charged(readings) if is_charged else refused_with(readings)


@pytest.mark.parametrize("kind", STORES)
async def test_random_hits_agree_with_the_model(kind):
    async with counter_store(kind) as store:
        loop = asyncio.get_running_loop()

        async def play(sequence: list[list[list[Entry]]]) -> None:
            await store.clear()
            model = Model()
            for tick in sequence:
                expected = [model.hit(asked) for asked in tick]
                assert await asyncio.gather(*(store.hit(*asked) for asked in tick)) == expected
                assert all(count <= MAX_COUNT for count in model.counts.values())
            assert {key: await store.used(key) for key in "abcd"} == model.counts

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(ticks)
        def run(sequence: list[list[list[Entry]]]) -> None:
            asyncio.run_coroutine_threadsafe(play(sequence), loop).result(30)

        await asyncio.to_thread(run)
