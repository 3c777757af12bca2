"""A token for several merchants, over the service as it runs: the body picks one that the token lists."""

from __future__ import annotations

import pytest
import pytest_asyncio

from helpers.issuer import SigningKey
from helpers.services import gate, payment, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("ES256", "k1")
PICKS = (
    "routes.yaml",
    "    merchant: { claim: /merchant_id } # who the token says the merchant is; the body must say the same",
    "    merchant: { claim: /merchant_id, several: body_picks }",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with gate(tmp_path_factory.mktemp("gate"), KEY, PICKS) as service:
        yield service


@pytest.mark.parametrize(
    ("claim", "body", "reason"),
    [
        pytest.param(["m_other", "m_active"], payment(), "allow", id="one of the listed"),
        pytest.param(["m_active"], payment(), "allow", id="the only one"),
        pytest.param("m_active", payment(), "allow", id="one as text"),
        pytest.param(["m_other", "m_third"], payment(), "merchant_mismatch", id="none of the listed"),
        pytest.param(["m_active", 7], payment(), "merchant_mismatch", id="a list of more than text"),
        pytest.param([], payment(), "merchant_mismatch", id="an empty list"),
        pytest.param(None, payment(), "merchant_mismatch", id="no claim"),
        pytest.param(["m_a", "m_b"], payment(merchant_id="m_b"), "merchant_unknown", id="one that is not known here"),
    ],
)
async def test_body_picks_only_what_the_token_lists(running, claim, body, reason):
    assert reason_of(await running.check(running.token(merchant_id=claim), body=body)) == reason


async def test_body_that_picks_nobody_is_refused(running):
    body = payment()
    del body["merchant_id"]
    response = await running.check(running.token(merchant_id=["m_active", "m_other"]), body=body)
    assert reason_of(response) != "allow"
    assert response.status.code != 0
