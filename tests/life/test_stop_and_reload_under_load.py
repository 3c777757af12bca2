"""Stop, restart and reload while payments flow: nobody notices, and nothing slips through meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from helpers.life_fleet import SERVICES, Fleet, Replica, running_fleet
from helpers.life_load import (
    DECLINE,
    MIX,
    OTHER_DECLINE,
    Load,
    Outcome,
    late_answers,
    read_records,
    wrong_answers,
    wrongly_allowed,
)
from helpers.life_policy import DECLINED, OTHER_DECLINED, decline
from helpers.transport_rig import TRANSPORTS, can_run
from helpers.waiting import until
from tollhouse.probe import get_json, get_text, wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
RELOADS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    directory = tmp_path_factory.mktemp("fleet") / request.param
    async with running_fleet(directory, transport=request.param, replicas=2) as running:
        yield running


async def restart(fleet: Fleet, service: str, replica: Replica) -> None:
    """Stop a replica, look at it while it drains, start it again, and wait until Envoy uses it."""
    stopping = asyncio.create_task(replica.child.stop())
    assert await wait_until(lambda: get_text(replica.admin_port, "/readyz") is None, 5)
    assert get_text(replica.admin_port, "/healthz") is not None  # alive, and answering those on their way
    await fleet.wait_envoy_sees(1, service)
    await stopping
    assert replica.child.exit_code == 0, replica.child.last_lines()
    await replica.child.start()
    await fleet.wait_ready(replica)
    await fleet.wait_envoy_sees(2, service)


async def test_rolling_restart_drains_every_replica_fails_no_request_and_lets_none_through(fleet: Fleet) -> None:
    charged_before = await fleet.charged()
    load = fleet.load()
    async with load.running():
        await load.goes_on(1)
        for service in SERVICES:
            for replica in fleet.services[service]:
                await restart(fleet, service, replica)
        await load.goes_on(1)

    seen = load.arrived()
    assert wrong_answers(load.outcomes) == {}
    assert wrongly_allowed(seen) == []
    assert len(seen) == len(set(seen)) == sum(item.status == 200 for item in load.outcomes)
    assert await fleet.charged() - charged_before == len(seen)  # once each, also where Envoy asked another replica
    assert late_answers(load.outcomes) == []


async def test_each_answer_during_reloads_is_right_under_the_revision_that_its_record_names(fleet: Fleet) -> None:
    gates = fleet.services["extauthz"]
    declined_under = {fleet.revision(gates[0]): DECLINED}
    load = fleet.load(kinds=(*MIX, OTHER_DECLINE))
    async with load.running():
        for number in range(RELOADS):
            wanted = (OTHER_DECLINED, DECLINED)[number % 2]
            before = fleet.revision(gates[0])
            decline(fleet.policies, wanted)
            await fleet.wait_revision_is_not(before)
            declined_under[fleet.revision(gates[0])] = wanted
            await load.goes_on(0.5)

    records = await records_of(gates, load)
    assert len(declined_under) == 2
    assert wrong_answers(item for item in load.outcomes if item.kind not in (DECLINE, OTHER_DECLINE)) == {}
    for item in load.outcomes:
        assert_right_under(item, declined_under[records[str(item.request_id)]["policy_revision"]])
    assert {item.status for item in load.outcomes if item.kind is DECLINE} == {200, 403}
    assert all(get_json(gate.admin_port, "/policy")["failed_reloads"] == 0 for gate in gates)


async def records_of(gates: list[Replica], load: Load) -> dict[str, dict[str, Any]]:
    """Return the decision record of each request; they are written a moment after the answer."""
    asked = {item.request_id for item in load.outcomes}
    found: dict[str, dict[str, Any]] = {}

    def is_complete() -> bool:
        found.update((record["request_id"], record) for gate in gates for record in read_records(gate.decisions))
        return asked <= found.keys()

    await until(is_complete)
    return found


def assert_right_under(item: Outcome, declined: str) -> None:
    if item.kind in (DECLINE, OTHER_DECLINE):
        assert item.status == (403 if item.kind.country == declined else 200), item
