import pytest

from helpers.compose_stack import ComposeStack
from tollhouse.samples import send_sample
from tollhouse.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", [pytest.param(row, id=row.title) for row in SCENARIOS])
@pytest.mark.asyncio(loop_scope="session")
async def test_sample_payment_in_containers_comes_out_as_the_table_says(
    compose_stack: ComposeStack, scenario: Scenario
) -> None:
    outcome = await send_sample(compose_stack, scenario)

    assert outcome.mistakes == ()
