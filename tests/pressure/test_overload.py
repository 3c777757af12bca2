"""More payments than a service can decide: the rest is refused in time, and it is well again at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.envoy_host import has_libpython
from helpers.cpu_quota import cpu_quota, resident_megabytes
from helpers.life_fleet import Fleet, running_fleet, tree
from helpers.life_load import PAY, Load, Outcome, status_counts, wrongly_allowed

CPU_SHARES = (0.16, 0.08, 0.04, 0.02)
"""Of the time, tried in turn until the flood is well beyond what the service can do."""

FLOOD_SHARE = 0.25  # of all payments refused: that was a flood
JUDGED_SHARE = 1 / 3
"""Of all payments allowed: above it most refusals must be the service's own. Far beyond that, the answers that cost
least are more than the service can give, and Envoy's deadline is what is left."""
FLOOD_RATE = 560.0  # just under what the flood shield grants the load's six addresses
FLOOD_SECONDS = 4.0
ANSWER_SECONDS = 2.0
"""What envoy/tollhouse.yaml grants both services together."""
MARGIN_SECONDS = 1.5  # for a machine that is busy with other things
MEMORY_GROWTH_MEGABYTES = 96.0
OWN_REFUSALS = ("overloaded", "limiter_overloaded")
"""The service that is not slowed down may run short of time as well on a busy machine."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that the test prints."""

    service: str
    transport: str
    outcomes: Sequence[Outcome]
    seconds: float
    memory: tuple[float, float]

    def __str__(self) -> str:
        allowed = [item.seconds for item in self.outcomes if item.status == 200]
        slowest = max(item.seconds for item in self.outcomes)
        return (
            f"{self.service:9} {self.transport:7} {len(self.outcomes) / self.seconds:5.0f} arrivals/s "
            f"{len(allowed) / self.seconds:5.0f} allowed/s, slowest allowed {max(allowed, default=0.0):.2f} s, "
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
        for share in CPU_SHARES:
            load, memory = await flood(fleet, service, share)
            await pays_normally(fleet)
            print(f"\n{Row(service, transport, load.outcomes, FLOOD_SECONDS, memory)}")
            judge(load)
            assert memory[1] - memory[0] < MEMORY_GROWTH_MEGABYTES
            if allowed_share(load) < 1 - FLOOD_SHARE:
                return
        pytest.fail("no flood: the service kept up")


async def pays_normally(fleet: Fleet) -> None:
    """Wait until a second's payments in a row are answered as policy says."""
    load = fleet.load(rate=40.0)
    async with load.running():
        await load.recovers(0.0, within_seconds=10.0)


async def flood(fleet: Fleet, service: str, share: float) -> tuple[Load, tuple[float, float]]:
    """Send the flood while the service has a small share of a processor; return it and the memory around it."""
    pids = tree(fleet.child(service))
    before = resident_megabytes(pids)
    load = fleet.load(rate=FLOOD_RATE, kinds=(PAY,))
    with cpu_quota(pids, share):
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
