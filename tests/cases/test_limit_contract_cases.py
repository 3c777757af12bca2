"""What a real Envoy does with a rate-limit answer or setting: facts that the limiter and its configuration rest on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio

from helpers.cases.envoy_chain import EnvoyChain, envoy_chain
from helpers.cases.envoy_limits import (
    GENERIC,
    LimitSetting,
    constant_metadata,
    denying_authorization,
    number_of_header,
    shown_metadata,
)
from helpers.waiting import until
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

OK, OVER, UNKNOWN = wire.RateLimitResponse.OK, wire.RateLimitResponse.OVER_LIMIT, wire.RateLimitResponse.UNKNOWN
UNITS = wire.RateLimitResponse.RateLimit
BACK = {"hits_addend": {"number": 1, "is_negative_hits": True}, "apply_on_stream_done": True}
COSTLY = {"hits_addend": {"format": "%DYNAMIC_METADATA(tok:hits)%"}}
OVERRIDE = {"limit": {"dynamic_metadata": {"metadata_key": {"key": "lim", "path": [{"key": "limit"}]}}}}
STATIC = {"response_headers_to_add": [{"header": {"key": "x-static", "value": "s"}}]}
_PER_ROUTE = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
    "domain": "other",
    "rate_limits": [
        GENERIC | {"limit": {"dynamic_metadata": {"metadata_key": {"key": "lim", "path": [{"key": "limit"}]}}}}
    ],
}
SETTINGS = {
    "plain": LimitSetting(after=(shown_metadata("envoy.filters.http.ratelimit"),)),
    "headers": LimitSetting(limits={"enable_x_ratelimit_headers": "DRAFT_VERSION_03"}),
    "short": LimitSetting(deadline=""),
    "deny": LimitSetting(limits={"failure_mode_deny": True, "status_on_error": {"code": "ServiceUnavailable"}}),
    "402": LimitSetting(limits={"rate_limited_status": {"code": "PaymentRequired"}, **STATIC}),
    "namespace": LimitSetting(limits={"metadata_namespace": "my.ns"}, after=(shown_metadata("my.ns"),)),
    "costly": LimitSetting(rate_limit=GENERIC | COSTLY, before=(number_of_header("x-hits", "tok", "hits"),)),
    "skipping": LimitSetting(
        rate_limit={
            "actions": [{"request_headers": {"header_name": "x-a", "descriptor_key": "a", "skip_if_absent": True}}]
        }
    ),
    "back": LimitSetting(rate_limit=GENERIC | BACK),
    "denied": LimitSetting(before=(denying_authorization(),)),
    "route": LimitSetting(
        before=(constant_metadata("lim", {"limit": {"requests_per_unit": 44, "unit": "MONTH"}}),),
        route={"typed_per_filter_config": {"envoy.filters.http.ratelimit": _PER_ROUTE}},
    ),
    **{
        f"override-{unit}": LimitSetting(
            rate_limit=GENERIC | OVERRIDE,
            before=(constant_metadata("lim", {"limit": {"requests_per_unit": 42, "unit": unit}}),),
        )
        for unit in ("HOUR", "WEEK", "hour", "UNKNOWN")
    },
}
NOT_REPLAYED = {
    "N13": "enable_retry_after_header is newer than the Envoy that these tests run",
    "N14": "as N13",
    "N21": "needs a client that leaves an upstream which waits; amounts never travel as hits here",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """One case: what the stub answers, or the status it ends with, or seconds of silence; and what comes of it."""

    answer: wire.RateLimitResponse | grpc.StatusCode | float
    status: int
    setting: str = "plain"
    client: dict[str, list[str]] = field(default_factory=dict)
    upstream: dict[str, list[str]] = field(default_factory=dict)
    body: bytes | None = None


def _answer(code: int, *statuses: dict[str, Any], **extras: Any) -> wire.RateLimitResponse:
    response = wire.RateLimitResponse(overall_code=code, raw_body=extras.get("raw_body", b""))
    for status in statuses:
        added = response.statuses.add(code=OK, limit_remaining=status["remaining"])
        added.current_limit.requests_per_unit, added.current_limit.unit = status["limit"]
        added.current_limit.name = status.get("name", "")
        added.duration_until_reset.seconds = status["reset"]
    for name in ("response_headers_to_add", "request_headers_to_add"):
        for key, value in extras.get(name, {}).items():
            getattr(response, name).add(key=key, value=value)
    response.dynamic_metadata.update(extras.get("metadata", {}))
    return response


MINUTE = {"limit": (10, UNITS.MINUTE), "name": "nm", "remaining": 7, "reset": 33}
DAY = {"limit": (100, UNITS.DAY), "remaining": 3, "reset": 999}
CONTRACTS = {
    "N01": Contract(_answer(OK, MINUTE, DAY), 200, client={"x-ratelimit-limit": []}),
    "N02": Contract(_answer(OVER), 429, client={"x-envoy-ratelimited": ["true"]}, body=b""),
    "N03": Contract(
        _answer(OK, MINUTE, DAY),
        200,
        "headers",
        client={
            "x-ratelimit-limit": ['100, 10;w=60;name="nm", 100;w=86400'],
            "x-ratelimit-remaining": ["3"],
            "x-ratelimit-reset": ["999"],
        },
    ),
    "N04": Contract(
        _answer(OK, DAY | {"limit": (10, UNITS.WEEK)}), 200, "headers", {"x-ratelimit-limit": ["10, 10;w=604800"]}
    ),
    "N05": Contract(
        _answer(OK, DAY | {"limit": (10, UNITS.MONTH)}), 200, "headers", {"x-ratelimit-limit": ["10, 10;w=2592000"]}
    ),
    "N06": Contract(grpc.StatusCode.UNAVAILABLE, 200),
    "N07": Contract(0.3, 200, "short"),
    "N08": Contract(0.3, 429),
    "N09": Contract(_answer(UNKNOWN), 200),
    "N10": Contract(grpc.StatusCode.UNAVAILABLE, 503, "deny", body=b""),
    "N11": Contract(_answer(OVER), 402, "402", {"x-static": ["s"]}),
    "N12": Contract(_answer(OK), 200, "402", {"x-static": []}),
    "N15": Contract(
        _answer(
            OVER,
            raw_body=b'{"why":"quota"}',
            response_headers_to_add={"x-rl-why": "q", "content-type": "application/json"},
        ),
        429,
        client={"x-rl-why": ["q"], "content-type": ["application/json"]},
        body=b'{"why":"quota"}',
    ),
    "N16": Contract(
        _answer(
            OK,
            request_headers_to_add={"x-to-up": "1"},
            response_headers_to_add={"x-to-down": "2"},
            metadata={"k": "v", "n": 1},
        ),
        200,
        client={"x-to-down": ["2"]},
        upstream={"x-to-up": ["1"], "x-metadata": ['{"k":"v","n":1}']},
    ),
    "N17": Contract(_answer(OK, metadata={"k": "v"}), 200, "namespace", upstream={"x-metadata": ['{"k":"v"}']}),
}
OTHERS = ("N18", "N19", "N20", "N22", "N23", "N24")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyChain]:
    folder = tmp_path_factory.mktemp("envoy")
    async with envoy_chain(SETTINGS, folder, stub_method=SHOULD_RATE_LIMIT_METHOD) as running:
        yield running


def _answering(answer: wire.RateLimitResponse | grpc.StatusCode | float) -> Any:
    async def answer_call(context: grpc.aio.ServicerContext) -> bytes:
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "")
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return _answer(OVER).SerializeToString()
        assert isinstance(answer, wire.RateLimitResponse)
        return answer.SerializeToString()

    return answer_call


def _asked(chain: EnvoyChain) -> list[wire.RateLimitRequest]:
    return [wire.RateLimitRequest.FromString(data) for data in chain.checks]


@pytest.mark.parametrize("case_id", CONTRACTS)
async def test_envoy_does_what_the_case_says(chain: EnvoyChain, case_id: str) -> None:
    contract = CONTRACTS[case_id]
    chain.answer = _answering(contract.answer)
    reply = await chain.send(contract.setting)
    assert reply.status == contract.status
    for name, values in contract.client.items():
        assert reply.values(name) == values
    for name, values in contract.upstream.items():
        assert [value for key, value in chain.arrived[0]["headers"] if key == name] == values
    assert contract.body in (None, reply.body)


@pytest.mark.parametrize(
    ("sent", "hits"),
    [
        *[("7", 7), ("0", 0), ("1.5", 1), ("1000000000", 1_000_000_000)],
        *[("1000000001", None), ("5000000000", None), ("-3", None), ("", None)],
    ],
)
async def test_hits_of_metadata_outside_their_range_drop_the_whole_call(
    chain: EnvoyChain, sent: str, hits: int | None
) -> None:
    chain.answer = _answering(_answer(OVER))
    reply = await chain.send("costly", headers={"x-hits": sent} if sent else {})
    assert reply.status == (200 if hits is None else 429)
    assert [request.descriptors[0].hits_addend.value for request in _asked(chain)] == ([] if hits is None else [hits])


async def test_header_that_is_absent_and_skipped_leaves_a_descriptor_without_entries(chain: EnvoyChain) -> None:
    chain.answer = _answering(_answer(OK))
    await chain.send("skipping")
    (request,) = _asked(chain)
    assert [len(descriptor.entries) for descriptor in request.descriptors] == [0]


async def test_hits_are_given_back_at_the_end_of_the_stream(chain: EnvoyChain) -> None:
    chain.answer = _answering(_answer(OK))
    await chain.send("back")
    await until(lambda: chain.checks)
    assert [request.descriptors[0].is_negative_hits for request in _asked(chain)] == [True]
    assert b"\x20\x01" in chain.checks[0]


@pytest.mark.parametrize(("unit", "number"), [("HOUR", 3), ("WEEK", None), ("hour", None), ("UNKNOWN", 0)])
async def test_override_of_metadata_is_dropped_when_its_unit_is_misspelt(
    chain: EnvoyChain, unit: str, number: int | None
) -> None:
    chain.answer = _answering(_answer(OK))
    await chain.send(f"override-{unit}")
    (descriptor,) = _asked(chain)[0].descriptors
    assert descriptor.HasField("limit") is (number is not None)
    if number is not None:
        assert (descriptor.limit.requests_per_unit, descriptor.limit.unit) == (42, number)


async def test_request_that_ext_authz_denies_is_never_limited(chain: EnvoyChain) -> None:
    chain.answer = _answering(_answer(OVER))
    assert (await chain.send("denied")).status == 403
    assert not chain.checks


async def test_route_names_a_domain_and_limits_of_its_own(chain: EnvoyChain) -> None:
    chain.answer = _answering(_answer(OK))
    await chain.send("route")
    (request,) = _asked(chain)
    limit = request.descriptors[0].limit
    assert (request.domain, limit.requests_per_unit, limit.unit) == ("other", 44, wire.RateLimitUnit.MONTH)


async def test_every_case_is_here_or_named(case_counts: dict[str, int]) -> None:
    case_counts["rate-limit contracts with a real Envoy"] = len(CONTRACTS) + len(OTHERS)
    known = [*CONTRACTS, *OTHERS, *NOT_REPLAYED]
    assert sorted(known) == [f"N{number:02}" for number in range(1, 25)]
