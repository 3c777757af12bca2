"""Warn levels: one event for the payment that crosses one, in the log and in the metrics; never a refusal."""

from __future__ import annotations

import logging
from dataclasses import replace

from prometheus_client import CollectorRegistry

from chassis.metrics import ServiceMetrics
from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from ratelimit.ledger import Kind
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import OverLimit, QuotaState, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.recording import Recorder
from ratelimit.warnings import MAX_REMEMBERED, MAX_SERIES, QUIET_SECONDS, QuotaWarnings
from ratelimit.window import Windows

AMOUNT = limit("day", 1000, metric="amount", currency="EUR", warn_at=(80, 95))


class NoSink:
    def write(self, record):
        self.record = record


class Rig:
    def __init__(self, *limits):
        self.clock = FakeClock()
        self.tables = tables(*limits)
        self.engine = Engine(MemoryLedger(self.clock), Windows(), self.clock)
        self.metrics = ServiceMetrics("ratelimit", [])
        self.warnings = QuotaWarnings(self.metrics.registry, self.clock)
        self.recorder = Recorder(NoSink(), self.metrics, self.clock, self.warnings)
        self.number = 0

    async def pay(self, amount, **changes):
        self.number += 1
        query = limit_query(amount_minor=amount, decision_id=f"{self.number:032x}", **changes)
        trail = Trail(query.decision_id, query=query)
        verdict = await decide(self.tables, query, trail, self.clock.monotonic() + 1.0, self.engine)
        self.recorder.record(verdict, trail, revision="r", started=self.clock.monotonic())
        return verdict

    def counted(self):
        samples = [each for family in self.warnings.collect() for each in family.samples]
        return {(each.labels["quota"], each.labels["level"]): each.value for each in samples}


async def test_the_payment_that_crosses_a_level_is_told_once_and_passes(caplog):
    rig = Rig(AMOUNT)
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for amount in (799, 1, 10, 100, 40):
            assert isinstance(await rig.pay(amount), WithinLimit)
    assert [record.getMessage() for record in caplog.records] == [
        "quota_warning: day of m_1 has reached 80 %",
        "quota_warning: day of m_1 has reached 95 %",
    ]
    assert rig.counted() == {("day", "80"): 1, ("day", "95"): 1}


async def test_one_payment_may_cross_both():
    rig = Rig(AMOUNT)
    await rig.pay(1000)
    assert rig.counted() == {("day", "80"): 1, ("day", "95"): 1}


async def test_a_refused_payment_crosses_nothing():
    rig = Rig(AMOUNT)
    assert isinstance(await rig.pay(1001), OverLimit)
    await rig.pay(700)
    assert isinstance(await rig.pay(301), OverLimit)
    assert rig.counted() == {}


async def test_a_shadow_quota_warns_as_well_until_it_is_over():
    rig = Rig(replace(AMOUNT, is_shadow=True))
    await rig.pay(799)
    assert isinstance(await rig.pay(500), WithinLimit)  # did not fit: not counted
    assert rig.counted() == {}
    await rig.pay(1)
    assert rig.counted() == {("day", "80"): 1}


async def test_the_next_window_warns_again():
    rig = Rig(AMOUNT)
    await rig.pay(800)
    rig.clock.advance(86_400)
    await rig.pay(800)
    assert rig.counted() == {("day", "80"): 2}


async def test_what_refills_all_the_time_is_told_once_a_minute():
    rate = limit(
        "rate", 10, kind=Kind.RATE, frame=None, step=1_000_000, buckets=10, expires_in_seconds=60, warn_at=(50,)
    )
    rig = Rig(rate)
    for _ in range(20):
        for _ in range(5):
            await rig.pay(1)
        rig.clock.advance(5)
    assert rig.counted() == {("rate", "50"): 2}
    assert rig.clock.elapsed - FakeClock().elapsed == 20 * 5 < 2 * QUIET_SECONDS


async def test_a_quota_without_levels_tells_nothing(caplog):
    rig = Rig(replace(AMOUNT, warn_at=()))
    await rig.pay(1000)
    assert (rig.counted(), caplog.records) == ({}, [])


def test_neither_memory_nor_series_grow_without_bound():
    warnings = QuotaWarnings(CollectorRegistry(), FakeClock())
    for number in range(MAX_REMEMBERED + 10):
        state = QuotaState(f"q{number}", 10, 8, 1, is_over=False, is_shadow=False, is_per_second=False, crossed=(80,))
        warnings.note(f"m_{number}", [state])
    assert len(warnings._told) == MAX_REMEMBERED
    counts = {each.labels["quota"]: each.value for family in warnings.collect() for each in family.samples}
    assert len(counts) == MAX_SERIES + 1
    assert sum(counts.values()) == MAX_REMEMBERED + 10
