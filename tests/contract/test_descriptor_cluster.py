"""Descriptors in a cluster: what is taken together lies in one slot, what is taken each for itself need not."""

from __future__ import annotations

import pytest

from chassis.clock import SystemClock
from chassis.store_cluster import slot_of
from helpers.store_fleets import clustered
from helpers.tally_stores import hit
from helpers.waiting import until
from ratelimit.descriptors.match import plain_key, typed_key
from ratelimit.descriptors.store_tally import StoreTally
from ratelimit.descriptors.tally import Count, Law

pytestmark = pytest.mark.slow


async def test_requests_are_counted_in_a_cluster_both_ways(tmp_path):
    clock = SystemClock()
    typed = [typed_key("shop", (("user", name),), "day", 0) for name in "abc"]
    plain = [plain_key("shop", (("user", name),), 0) for name in "abcdef"]
    assert len({slot_of(key) for key in typed}) == 1
    assert len({slot_of(key) for key in plain}) > 1
    async with clustered(tmp_path) as cluster:
        store = StoreTally.from_url(cluster.url, clock)
        await store.start()
        try:
            await until(lambda: store.is_available, 20)
            hits = [hit(typed[0], 9), hit(typed[1], 0), hit(typed[2], 9)]
            counts = await store.tally(hits, Law.ALL_OR_NONE, clock.monotonic() + 10)
            assert counts == (Count(0, 0, False), Count(0, 0, True), Count(0, 0, False))
            for turn in range(2):
                each = await store.tally([hit(key, 1) for key in plain], Law.EACH, clock.monotonic() + 10)
                assert each == tuple(Count(turn, turn + 1, turn == 1) for _ in plain)
        finally:
            await store.stop()
