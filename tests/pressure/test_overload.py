"""More payments than a service can decide: the rest is refused in time, and it is well again at once.

The service is slowed down by a policy that is much work (risk rules that all fire, as many quotas as there may be),
and by neighbours on its processor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.envoy_host import has_libpython
from helpers.crowded import crowded
from helpers.life_fleet import Fleet, running_fleet, tree
from helpers.life_load import PAY, Load, Outcome, status_counts, wrongly_allowed
from helpers.memory import resident_megabytes

pytestmark = pytest.mark.pressure

FLOOD_RATE = 560.0  # just under what the flood shield grants the load's six addresses
FLOOD_SECONDS = 4.0
ANSWER_SECONDS = 2.0
"""What envoy/tollhouse.yaml grants both services together."""
MARGIN_SECONDS = 3.0  # for a machine that is busy with other things
RECOVERY_SECONDS = 10.0
MEMORY_GROWTH_MEGABYTES = 96.0
OWN_REFUSALS = ("overloaded", "limiter_overloaded", "deadline_exceeded")
"""The service that is not slowed down may run short of time as well on a busy machine."""

RULE = """\
  - id: rule_{number}
    owner: pressure
    mode: shadow
    action: decline
    when: payment.amount.minor_units > {number}
    reason: Fires for every payment of the load
"""
QUOTA = """\
  - {{id: quota_{number}, owner: pressure, metric: count, interval: daily, operations: [create_payment],
     limit: 1000000000, mode: shadow}}
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What slows a service down: a file of the set, what is added to it, and how often."""

    file: str
    piece: str
    size: int


WORK = {"extauthz": Work("risk.yaml", RULE, 400), "ratelimit": Work("quotas.yaml", QUOTA, 60)}
NEIGHBOURS = (1, 3, 8, 20)
"""Tried in turn until the flood is well beyond what the service can do."""
FLOOD_SHARE = 0.2  # of all payments refused: that was a flood
JUDGED_SHARE = 0.2
"""Of all payments allowed: up to five times what the service can do, most refusals must be its own. Far beyond that
even the cheapest answer is more than it can give, and Envoy's deadline is what is left."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that the test prints."""

    service: str
    transport: str
    outcomes: Sequence[Outcome]
    memory: tuple[float, float]

    def __str__(self) -> str:
        allowed = [item.seconds for item in self.outcomes if item.status == 200]
        slowest = max(item.seconds for item in self.outcomes)
        return (
            f"{self.service:9} {self.transport:7} {len(self.outcomes) / FLOOD_SECONDS:5.0f} arrivals/s "
            f"{len(allowed) / FLOOD_SECONDS:5.0f} allowed/s, slowest allowed {max(allowed, default=0.0):.2f} s, "
            f"slowest answer {slowest:.2f} s, memory {self.memory[0]:.0f} -> {self.memory[1]:.0f} MB, "
            f"answers {status_counts(self.outcomes)}"
        )


@pytest.mark.parametrize("transport", ["envoy", "grpcio"])
@pytest.mark.parametrize("service", ["extauthz", "ratelimit"])
async def test_flood_is_shed_in_time_and_the_service_recovers(service: str, transport: str, tmp_path: Path):
    if transport == "envoy" and not has_libpython():
        pytest.skip("no shared libpython")
    async with running_fleet(tmp_path / "fleet", transport=transport) as fleet:
        await pays_normally(fleet)
        await slow_down(fleet, service)
        for neighbours in NEIGHBOURS:
            load, memory = await flood(fleet, service, neighbours)
            await pays_normally(fleet)  # at once, under the policy that is much work
            print(f"\n{Row(service, transport, load.outcomes, memory)}")
            judge(load)
            assert memory[1] - memory[0] < MEMORY_GROWTH_MEGABYTES
            if allowed_share(load) < 1 - FLOOD_SHARE:
                return
        pytest.fail("no flood: the service kept up")


async def pays_normally(fleet: Fleet) -> None:
    """Wait until a second's payments in a row are answered as policy says."""
    load = fleet.load(rate=20.0)
    async with load.running():
        await load.recovers(0.0, within_seconds=RECOVERY_SECONDS)


async def slow_down(fleet: Fleet, service: str) -> None:
    """Put a policy in force that is much work for one service."""
    before = fleet.revision(fleet.services[service][0])
    work = WORK[service]
    pieces = "".join(work.piece.format(number=number) for number in range(work.size))
    new = fleet.directory / "new"  # outside of the set, or it would have a file too many for a moment
    new.write_text((fleet.policies / work.file).read_text("utf-8") + pieces, "utf-8")
    os.replace(new, fleet.policies / work.file)
    await fleet.wait_revision_is_not(before)


async def flood(fleet: Fleet, service: str, neighbours: int) -> tuple[Load, tuple[float, float]]:
    """Send the flood; return it and the memory of the service around it."""
    pids = tree(fleet.child(service))
    before = resident_megabytes(pids)
    load = fleet.load(rate=FLOOD_RATE, kinds=(PAY,))
    with crowded(pids, neighbours):
        async with load.running():
            await load.goes_on(FLOOD_SECONDS)
    return load, (before, resident_megabytes(pids))


def allowed_share(load: Load) -> float:
    """Return the part of all payments that was allowed."""
    return sum(item.status == 200 for item in load.outcomes) / len(load.outcomes)


def judge(load: Load) -> None:
    """Hold what came of a flood to the rules for it."""
    outcomes, arrived = load.outcomes, set(load.arrived())
    refused = [item for item in outcomes if item.status != 200]
    own = [item for item in refused if item.reason in OWN_REFUSALS]
    assert not [item.reference for item in refused if item.reference in arrived], "refused and yet paid"
    assert not wrongly_allowed(arrived)
    assert all(item.status in (200, 503) for item in outcomes), status_counts(outcomes)
    assert max(item.seconds for item in outcomes) < ANSWER_SECONDS + MARGIN_SECONDS, "an answer after Envoy's deadline"
    is_judged = allowed_share(load) > JUDGED_SHARE
    assert len(own) >= len(refused) / 2 or not is_judged, f"mostly time-outs: {status_counts(outcomes)}"
