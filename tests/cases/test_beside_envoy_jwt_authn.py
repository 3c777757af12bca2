"""The tokens of the cases put to Envoy's own jwt_authn filter: where the two differ, and that ours is the stricter."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from helpers.cases import claims, jose  # noqa: F401 - importing registers their builders
from helpers.cases.envoy_chain import EnvoyChain, Setting, envoy_chain
from helpers.cases.judge import is_allow
from helpers.cases.registry import BUILDERS, Before, load_cases
from helpers.cases.request import Request
from helpers.cases.rig import AUDIENCE, ISSUER, CaseRig, case_rig
from protos import envoy_wire_pb2 as wire

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

TOKENS = [
    case_id
    for case_id, case in load_cases().items()
    if case.area in ("jws", "claims") and case_id in BUILDERS and not BUILDERS[case_id].needs_own_rig
    if case_id != "C20"  # of an operation, not of a token
]
OURS_IS_STRICTER = {
    "J15": "Envoy ignores crit (RFC 7515 section 4.1.11)",
    "J25": "Envoy takes a signature with padding",
    "J26": "Envoy takes unused bits that are set, so one signature has several texts",
    "C15": "Envoy asks for none of client_id, jti, iat and sub",
    "C18": "Envoy does not read scopes",
}
"""Cases of which Envoy lets some token pass that the gate refuses, with the reason."""
ENVOY_IS_STRICTER = {"J03": "Envoy does not know the algorithm name Ed25519 (RFC 9864)"}
"""The other way round."""


def _jwt_authn(keys: str) -> dict[str, object]:
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": keys},
        "clock_skew_seconds": 60,
        "require_expiration": True,
    }
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"main": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}],
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[CaseRig]:
    async with case_rig() as running:
        # Envoy's clock is the machine's; the same tokens must be good for both.
        running.clock.set_wall(time.time())
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(rig: CaseRig, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyChain]:
    names = {"Ed25519": "EdDSA"}
    keys = json.dumps({"keys": [key.public(alg=names.get(key.alg, key.alg)) for key in rig.keys.values()]})
    settings = {"jwt": Setting(before=(_jwt_authn(keys),))}
    async with envoy_chain(settings, tmp_path_factory.mktemp("jwt")) as running:
        running.answer = _allow
        yield running


async def _allow(_: object) -> bytes:
    return wire.CheckResponse(ok_response=wire.OkHttpResponse()).SerializeToString()


async def _passes_envoy(chain: EnvoyChain, request: Request) -> bool:
    (token,) = (value for name, value in request.headers if name == "authorization")
    return (await chain.send("jwt", headers={"authorization": token})).status == 200


@pytest.mark.parametrize("case_id", TOKENS)
async def test_gate_lets_no_token_pass_that_envoy_refuses(rig: CaseRig, chain: EnvoyChain, case_id: str) -> None:
    ours, theirs = [], []
    async for made in BUILDERS[case_id].build(rig):
        request = made.request if isinstance(made, Before) else made
        if request.path == "/v1/payments":
            ours.append(is_allow(await rig.send(request, "headers")))
            theirs.append(await _passes_envoy(chain, request))
    assert ours, "no token was compared"
    looser = [number for number, (our, their) in enumerate(zip(ours, theirs, strict=True)) if our and not their]
    stricter = [number for number, (our, their) in enumerate(zip(ours, theirs, strict=True)) if their and not our]
    assert bool(looser) is (case_id in ENVOY_IS_STRICTER), (ours, theirs)
    assert bool(stricter) is (case_id in OURS_IS_STRICTER), (ours, theirs)
