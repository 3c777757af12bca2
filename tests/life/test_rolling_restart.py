"""A new version of both services, replica after replica, while payments flow."""

from pathlib import Path

import pytest

from helpers.life_fleet import SERVICES, Fleet, running_fleet
from helpers.life_load import arrived, late_answers, wrong_answers, wrongly_allowed
from helpers.transport_rig import TRANSPORTS, can_run


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    return str(request.param)


async def restart_all(fleet: Fleet) -> None:
    """Restart the replicas one after another, each once Envoy uses the one before."""
    for service in SERVICES:
        for replica in fleet.services[service]:
            await replica.child.stop()
            assert replica.child.exit_code == 0, replica.child.last_lines()
            await replica.child.start()
            await fleet.wait_ready(replica)
            await fleet.wait_envoy_sees(2, service)


async def test_rolling_restart_fails_no_request_and_lets_none_through(tmp_path: Path, transport: str) -> None:
    async with running_fleet(tmp_path / "fleet", transport=transport, replicas=2) as fleet:
        load = fleet.load()
        async with load.running():
            await load.answered(70)
            await restart_all(fleet)
            await load.answered(70)
        seen = arrived(fleet.journal)

    assert wrong_answers(load.outcomes) == {}
    assert wrongly_allowed(seen) == []
    assert len(seen) == len(set(seen)) == sum(item.status == 200 for item in load.outcomes)
    assert late_answers(load.outcomes) == []
