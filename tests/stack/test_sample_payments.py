import pytest

from tollhouse.samples import send_sample
from tollhouse.scenarios import SCENARIOS, Scenario
from tollhouse.up.stack import Stack


@pytest.mark.parametrize("scenario", [pytest.param(row, id=row.title) for row in SCENARIOS])
@pytest.mark.asyncio(loop_scope="session")
async def test_sample_payment_comes_out_as_the_table_says(stack: Stack, scenario: Scenario) -> None:
    outcome = await send_sample(stack, scenario)

    assert outcome.mistakes == ()
