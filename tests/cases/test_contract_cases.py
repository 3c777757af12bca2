"""What a real Envoy does with an answer or a setting: facts that the service and its configuration rest on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio

from helpers.cases.envoy_chain import EnvoyChain, Reply, Setting, envoy_chain
from helpers.cases.registry import load_cases
from protos import envoy_wire_pb2 as wire

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

CASES = {case_id for case_id, case in load_cases().items() if case.level == "contract"}
_JSON_TO_METADATA = {
    "name": "envoy.filters.http.json_to_metadata",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
        "request_rules": {
            "rules": [
                {
                    "selectors": [{"key": "pay"}, {"key": name}],
                    "on_present": {"metadata_namespace": "pay", "key": name},
                }
                for name in ("amount", "country")
            ]
        },
    },
}
SETTINGS = {
    "plain": Setting(),
    "open": Setting({"failure_mode_allow": True, "failure_mode_allow_header_add": True}),
    "status-503": Setting({"status_on_error": {"code": "ServiceUnavailable"}}),
    "short": Setting(timeout="0.3s"),
    "validated": Setting({"validate_mutations": True}),
    # By default the rules of this Envoy let `:path` be changed; envoy/tollhouse.yaml forbids all but a few names.
    "ruled": Setting({"decoder_header_mutation_rules": {"disallow_system": True, "disallow_is_error": True}}),
    "shadow": Setting({"shadow_mode": True}),
    "whole-body": Setting({"with_request_body": {"max_request_bytes": 16, "allow_partial_message": False}}),
    "metadata": Setting(
        {"metadata_context_namespaces": ["pay"], "with_request_body": None}, before=(_JSON_TO_METADATA,)
    ),
}


@dataclass(frozen=True, slots=True)
class Contract:
    """One case: what the service answers, what the client sends, and what must come of it.

    Attributes:
        answer: The CheckResponse, or the gRPC status that the call ends with, or seconds of silence before an allow.
        reaches: Whether the upstream gets the request; None asks nothing.
        upstream: Headers that the upstream gets, with all their values.
        client: Headers that the client gets, with all their values.
    """

    answer: wire.CheckResponse | grpc.StatusCode | float
    status: int
    setting: str = "plain"
    request: dict[str, Any] = field(default_factory=dict)
    reaches: bool | None = None
    upstream: dict[str, list[str]] = field(default_factory=dict)
    client: dict[str, list[str]] = field(default_factory=dict)
    body: bytes | None = None
    details: str = ""
    is_checked: bool = True


def _add(target: Any, headers: tuple[tuple[str, str], ...], option: dict[str, Any]) -> None:
    for name, value in headers:
        added = target.add()
        added.header.key, added.header.value = name, value
        if "append" in option:
            added.append.value = option["append"]
        if "append_action" in option:
            added.append_action = option["append_action"]


def _allow(*headers: tuple[str, str], **option: Any) -> wire.CheckResponse:
    ok = wire.OkHttpResponse()
    _add(ok.headers, headers, option)
    return wire.CheckResponse(ok_response=ok)


def _refuse(
    code: int, http: int | None, *headers: tuple[str, str], body: str = "", **option: Any
) -> wire.CheckResponse:
    response = wire.CheckResponse()
    response.status.code = code
    denied = response.denied_response
    denied.body = body
    if http is not None:
        denied.status.code = http
    _add(denied.headers, headers, option)
    return response


def _fault(code: int, http: int | None, body: str = "") -> wire.CheckResponse:
    response = wire.CheckResponse()
    response.status.code = code
    response.error_response.body = body
    if http is not None:
        response.error_response.status.code = http
    return response


APPEND = wire.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
TWO = (("x-app", "a1"), ("x-app", "a2"))
SENT = {"headers": {"x-app": "c0"}}
INJECTED = ("x-b", "v\r\nx-inj: 1")
CONTRACTS = {
    # The code alone decides: with 0, whatever else the answer holds, the request passes.
    "contract-ok-code-with-denied-body": Contract(_refuse(0, 403), 200, reaches=True),
    "contract-error-response-code-zero": Contract(_fault(0, None, "x"), 200, reaches=True),
    "contract-error-response": Contract(
        _fault(13, 503, "err"), 503, reaches=False, body=b"err", details="ext_authz_error"
    ),
    "contract-error-response-fail-open": Contract(
        _fault(13, 503), 200, "open", reaches=True, upstream={"x-envoy-auth-failure-mode-allowed": ["true"]}
    ),
    "contract-grpc-error-default": Contract(grpc.StatusCode.UNAVAILABLE, 403, reaches=False, details="ext_authz_error"),
    "contract-grpc-error-status-on-error": Contract(grpc.StatusCode.UNAVAILABLE, 503, "status-503", reaches=False),
    "contract-timeout": Contract(1.0, 403, "short", reaches=False),
    "contract-deny-without-http-status": Contract(_refuse(16, None, body="x"), 403, reaches=False),
    "contract-deny-with-200": Contract(_refuse(7, 200), 200, reaches=False),
    # Headers: only the old `append` counts, and it needs a header that is there.
    "contract-append-action-ignored-upstream": Contract(
        _allow(*TWO, append_action=APPEND), 200, request=SENT, upstream={"x-app": ["a2"]}
    ),
    "contract-append-true-existing": Contract(
        _allow(*TWO, append=True), 200, request=SENT, upstream={"x-app": ["c0,a1,a2"]}
    ),
    "contract-append-true-absent-is-dropped": Contract(_allow(TWO[0], append=True), 200, upstream={"x-app": []}),
    "contract-denied-append-true-is-dropped": Contract(_refuse(7, 403, TWO[0], append=True), 403, client={"x-app": []}),
    "contract-denied-two-cookies": Contract(
        _refuse(7, 403, ("set-cookie", "a=1"), ("set-cookie", "b=2")), 403, client={"set-cookie": ["a=1", "b=2"]}
    ),
    "contract-crlf-header-without-validation": Contract(_allow(INJECTED), 503, reaches=False),
    "contract-crlf-header-with-validation": Contract(
        _allow(INJECTED), 500, "validated", reaches=False, details="ext_authz_invalid"
    ),
    "contract-path-rewrite-allowed-by-default": Contract(
        _allow((":path", "/evil"), (":method", "DELETE"), ("host", "evil")),
        200,
        reaches=True,
        upstream={"host": ["evil"]},
    ),
    "contract-mutation-rules-stop-it": Contract(_allow((":path", "/evil")), 500, "ruled", reaches=False),
    "contract-shadow-mode": Contract(_refuse(7, 429), 200, "shadow", reaches=True),
    # What reaches the service at all.
    "contract-413-without-partial": Contract(
        _allow(), 413, "whole-body", {"data": b"x" * 17}, reaches=False, is_checked=False
    ),
    "contract-options-reaches-us": Contract(
        _allow(), 200, request={"method": "OPTIONS", "headers": {"origin": "https://a"}}, reaches=True
    ),
    "contract-json-to-metadata": Contract(
        _allow(),
        200,
        "metadata",
        {
            "data": b'{"pay":{"amount":1250,"country":"FR"}}',
            "headers": {"content-type": "application/json"},
        },
    ),
    "contract-json-to-metadata-bad-json": Contract(
        _allow(), 200, "metadata", {"data": b"notjson", "headers": {"content-type": "application/json"}}
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyChain]:
    async with envoy_chain(SETTINGS, tmp_path_factory.mktemp("contract")) as running:
        yield running


def _answering(contract: Contract) -> Any:
    async def answer(context: Any) -> bytes:
        if isinstance(contract.answer, grpc.StatusCode):
            await context.abort(contract.answer, "no answer")
        if isinstance(contract.answer, float):
            await asyncio.sleep(contract.answer)
            return _allow().SerializeToString()
        return contract.answer.SerializeToString()

    return answer


def _values(chain: EnvoyChain, name: str) -> list[str]:
    return [value for key, value in chain.arrived[0]["headers"] if key == name]


@pytest.mark.parametrize("case_id", CONTRACTS)
async def test_envoy_does_what_the_case_says(chain: EnvoyChain, case_id: str) -> None:
    contract = CONTRACTS[case_id]
    chain.answer = _answering(contract)
    reply: Reply = await chain.send(contract.setting, **contract.request)
    assert reply.status == contract.status, (reply, (chain.folder / "envoy.log").read_text()[-500:])
    assert bool(chain.checks) is contract.is_checked
    if contract.reaches is not None:
        assert bool(chain.arrived) is contract.reaches
    for name, values in contract.upstream.items():
        assert _values(chain, name) == values
    for name, values in contract.client.items():
        assert reply.values(name) == values
    if contract.body is not None:
        assert reply.body == contract.body
    assert contract.details in reply.details


async def test_rewritten_request_arrives_rewritten(chain: EnvoyChain) -> None:
    chain.answer = _answering(CONTRACTS["contract-path-rewrite-allowed-by-default"])
    await chain.send("plain")
    assert (chain.arrived[0]["method"], chain.arrived[0]["path"]) == ("DELETE", "/evil")


@pytest.mark.parametrize(
    ("case_id", "said"),
    [
        ("contract-json-to-metadata", {"amount": 1250.0, "country": "FR"}),
        ("contract-json-to-metadata-bad-json", {}),
    ],
)
async def test_metadata_arrives_as_far_as_the_body_could_be_read(
    chain: EnvoyChain, case_id: str, said: dict[str, Any]
) -> None:
    contract = CONTRACTS[case_id]
    chain.answer = _answering(contract)
    await chain.send(contract.setting, **contract.request)
    attributes = wire.CheckRequest.FromString(chain.checks[0]).attributes
    fields = attributes.metadata_context.filter_metadata["pay"].fields
    assert {name: value.number_value or value.string_value for name, value in fields.items()} == said
    assert not attributes.request.http.raw_body


async def test_every_contract_case_is_here(case_counts: dict[str, int]) -> None:
    case_counts["contracts with a real Envoy"] = len(CONTRACTS)
    assert set(CONTRACTS) == CASES
