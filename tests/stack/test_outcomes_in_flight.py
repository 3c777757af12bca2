"""Requests in flight through a real Envoy: a place is free when its outcome is told, or else by its lease."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from helpers.bound_stack import BoundStack
from helpers.told import Told, envoy_before, running, with_quotas
from helpers.waiting import until, until_told
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_SECONDS = 6
QUOTAS = f"""\
quotas:
  - {{id: day, owner: a, metric: amount, interval: daily, operations: [create_payment], currency: EUR, limit: 1000000}}
  - {{id: at_once, owner: a, metric: in_flight, lease: {LEASE_SECONDS}s, operations: [create_payment], limit: 1}}
"""
OUTCOME_LOG = "          - name: envoy.access_loggers.http_grpc\n"
AFTER_IT = "\n          http_filters:\n"


def without_outcomes(chain: str) -> str:
    """Take the access log out, so that every outcome is lost."""
    before, found, after = chain.partition(OUTCOME_LOG)
    assert found
    return before + AFTER_IT + after.partition(AFTER_IT)[2]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[Told]:
    directory = tmp_path_factory.mktemp("in-flight")
    copy = with_quotas(policies, directory, QUOTAS)
    async with running(BoundStack(directory / "run", choose_ports(None), copy, None), directory) as told:
        yield told


async def is_free(told: Told) -> bool:
    return (await told.used())[1] == 0


async def test_outcome_frees_the_place(told: Told):
    told.upstream.may_answer.clear()
    async with told.told("spent"):
        paying = asyncio.create_task(told.status("wait"))
        await until(lambda: told.upstream.taken[-1:] == ["wait"], 20)
        assert await told.status("s200") == 429
        told.upstream.may_answer.set()
        assert await paying == 200
    assert await is_free(told)
    async with told.told("spent"):
        assert await told.status("s200") == 200


async def test_lease_frees_the_place_where_the_outcome_is_lost(told: Told):
    silent = envoy_before(told.stack, told.directory / "silent.yaml", told.upstream.port, without_outcomes)
    async with silent as (port, _):
        assert await told.status("s200", port) == 200
        assert await told.status("s200", port) == 429

    async def passes() -> bool:
        return await told.status("s200") == 200

    async with told.told("spent"):
        await until_told(passes, LEASE_SECONDS + 20)
    assert await is_free(told)
