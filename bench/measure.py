"""Measures subjects side by side: rounds interleaved, so that a noisy minute hits all of them alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cases import EXPECTED_VERDICTS, METHODS, Level
from bench.load import Call, LoadFailed, LoadPlan, percentile_us, requests_per_second, send
from bench.report import Round, Row
from bench.servers import BenchFailed, Target, cpu_seconds, find_mistake, read_counters

_WARM_UP_EACH: Final = 25
_CALIBRATION_EACH: Final = 100
_LEAST_EACH: Final = 50
_MOST_REQUESTS: Final = 200_000
_PATIENCE_SECONDS: Final = 30.0
_PATIENCE_FACTOR: Final = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One server under measurement.

    Attributes:
        service: Which protocol it speaks.
        case: Name of the case.
        transport: `envoy`, `grpcio`, or the name of a peer.
        target: Where it is.
        bodies: Framed requests, a file for each h2load process.
        counter_bytes: What a counter takes in its own crowded store; None without one.
    """

    service: str
    case: str
    transport: str
    target: Target
    bodies: tuple[Path, ...]
    counter_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure, with what.

    Attributes:
        seconds: Of one round of one subject, roughly.
        rounds: Rounds of each subject.
        program: h2load.
        directory: For h2load's logs.
    """

    seconds: float
    rounds: int
    program: str
    directory: Path


class Measurement:
    """One subject at one level."""

    def __init__(self, subject: Subject, level: Level, effort: Effort) -> None:
        self._subject = subject
        self._level = level
        self._effort = effort
        self._requests_each = _LEAST_EACH
        self._rounds: list[Round] = []
        self._void = ""

    async def warm_up(self) -> None:
        """Fill caches, then find out how many requests make a round."""
        await self._guarded(_WARM_UP_EACH)
        done = await self._guarded(_CALIBRATION_EACH)
        if done is None:
            return
        wanted = requests_per_second(done[1]) * self._effort.seconds
        each = int(min(wanted, _MOST_REQUESTS) / self._level.processes)
        self._requests_each = max(each, _LEAST_EACH)

    async def add_round(self) -> None:
        """Measure once more; a void row is not measured any further."""
        done = await self._guarded(self._requests_each)
        if done is None:
            return
        cpu, calls = done
        self._rounds.append(
            Round(
                cpu_us=cpu * 1e6 / len(calls),
                rps=requests_per_second(calls),
                p50_us=percentile_us(calls, 0.5),
                p99_us=percentile_us(calls, 0.99),
            )
        )

    def row(self) -> Row:
        """Return what was measured so far."""
        subject = self._subject
        return Row(
            subject.service,
            subject.case,
            subject.transport,
            self._level.in_flight,
            tuple(self._rounds),
            self._void,
            subject.counter_bytes,
        )

    async def _guarded(self, requests_each: int) -> tuple[float, list[Call]] | None:
        """Send load; return CPU seconds and calls, None when the row is void."""
        if self._void:
            return None
        try:
            return await self._load(requests_each)
        except (LoadFailed, BenchFailed) as error:
            self._void = str(error)
            return None

    async def _load(self, requests_each: int) -> tuple[float, list[Call]]:
        subject, target = self._subject, self._subject.target
        plan = LoadPlan(
            url=f"http://{target.address}{METHODS[subject.service]}",
            bodies=subject.bodies[: self._level.processes],
            streams=self._level.streams,
            requests_each=requests_each,
            timeout_seconds=_PATIENCE_SECONDS + _PATIENCE_FACTOR * self._effort.seconds,
        )
        counters = await asyncio.to_thread(read_counters, target)
        before = cpu_seconds(target.pid)
        calls = await send(plan, self._effort.program, self._effort.directory)
        cpu = cpu_seconds(target.pid) - before
        after = await asyncio.to_thread(read_counters, target)
        if target.decision_log is not None and target.decision_log.exists():
            os.truncate(target.decision_log, 0)
        if counters is not None and after is not None:
            verdict = EXPECTED_VERDICTS[subject.service]
            mistake = find_mistake(counters, after, sent=plan.requests, verdict=verdict)
            if mistake:
                raise LoadFailed(mistake)
        return cpu, calls


async def measure(
    subjects: Sequence[Subject], level: Level, effort: Effort, report: Callable[[str], None]
) -> list[Row]:
    """Measure all subjects at one level, round by round."""
    measurements = [Measurement(subject, level, effort) for subject in subjects]
    for measurement in measurements:
        await measurement.warm_up()
    for number in range(effort.rounds):
        report(f"{subjects[0].service}, {level.in_flight} in flight: round {number + 1} of {effort.rounds}")
        for measurement in measurements:
            await measurement.add_round()
    return [measurement.row() for measurement in measurements]
