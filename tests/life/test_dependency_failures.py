"""Every part that a payment needs is killed, and paused, while payments flow.

With one replica of each service a payment waits or is refused meanwhile; with two, the loss of one is hardly
seen. In no case may a payment pass that policy refuses, or pass uncounted.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from helpers.life_faults import KILL, PAUSE, Fault, Row, parts_to_lose, suffer
from helpers.life_fleet import SERVICES, Fleet, running_fleet

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

_LIFE = pytest.mark.life
_REFUSALS = ("0 ", "429 ", "502 ", "503 ", "504 ")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def single(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path_factory.mktemp("single") / "run") as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def double(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path_factory.mktemp("double") / "run", replicas=2) as fleet:
        yield fleet


def assert_safe(row: Row) -> None:
    assert row.wrongly_allowed == 0
    assert row.late == 0
    assert not row.uncharged
    # What is neither 200 nor policy's own refusal says that there is no verdict, or no answer of the upstream.
    assert all(word.startswith(_REFUSALS) for word in row.other), row.other
    assert row.ok > 0


def all_faults() -> list[Fault]:
    return [Fault(part, how) for part in parts_to_lose() for how in (KILL, PAUSE)]


@pytest.mark.life
@pytest.mark.parametrize("fault", [pytest.param(fault, id=f"{fault.part}-{fault.how}") for fault in all_faults()])
async def test_loss_of_a_part_lets_nothing_through_and_passes_by_itself(
    single: Fleet, fault: Fault, rows: list[Row]
) -> None:
    row = await suffer(single, fault)
    rows.append(row)
    assert_safe(row)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(part, how), id=f"{part}-{how}", marks=() if (part, how) == ("ratelimit", KILL) else _LIFE)
        for part in SERVICES
        for how in (KILL, PAUSE)
    ],
)
async def test_loss_of_one_replica_of_two_lets_nothing_through(double: Fleet, fault: Fault, rows: list[Row]) -> None:
    row = await suffer(double, fault)
    rows.append(row)
    assert_safe(row)
    assert row.ok > 2 * sum(row.other.values())
