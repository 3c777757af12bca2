"""Cases that only show with a real Envoy between client, service and upstream; and our verdicts beside Envoy's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from helpers.cases.envoy_chain import EnvoyChain, Setting, envoy_chain
from helpers.cases.registry import load_cases
from helpers.cases.request import HOST, PAYMENT
from helpers.cases.rig import CaseRig, case_rig

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

REPLAYED = {"grpc-client-gets-grpc-status", "identity-header-spoof-is-overwritten"}
SETTINGS = {
    "headers": Setting(service="gate"),
    "header_map": Setting({"encode_raw_headers": True}, service="gate"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[CaseRig]:
    async with case_rig() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(rig: CaseRig, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyChain]:
    async with envoy_chain(SETTINGS, tmp_path_factory.mktemp("end-to-end"), gate_port=rig.port) as running:
        yield running


@pytest.mark.parametrize("form", SETTINGS)
async def test_grpc_client_gets_a_grpc_status(rig: CaseRig, chain: EnvoyChain, form: str) -> None:
    token = rig.token(scope="payments:read")
    headers = {"host": HOST, "authorization": f"Bearer {token}", "content-type": "application/grpc", "te": "trailers"}
    reply = await chain.send(form, headers=headers)
    assert (reply.status, reply.values("grpc-status")) == (200, ["7"])
    assert not chain.arrived


@pytest.mark.parametrize("form", SETTINGS)
async def test_identity_header_of_the_client_does_not_arrive(rig: CaseRig, chain: EnvoyChain, form: str) -> None:
    names = ("x-tollhouse-merchant", "x_tollhouse_merchant", "X.Tollhouse.Merchant", "x-tollhouse.merchant")
    forged = dict.fromkeys(names, "evil")
    headers = {"host": HOST, "authorization": f"Bearer {rig.token()}", **forged}
    reply = await chain.send(form, json=PAYMENT, headers=headers)
    assert reply.status == 200
    arrived = {name for name, _ in chain.arrived[0]["headers"]}
    assert not [name for name in arrived if "tollhouse" in name]
    assert "authorization" not in arrived


async def test_every_end_to_end_case_is_here(case_counts: dict[str, int]) -> None:
    case_counts["end to end"] = len(REPLAYED)
    assert {case_id for case_id, case in load_cases().items() if case.level == "e2e"} == REPLAYED
