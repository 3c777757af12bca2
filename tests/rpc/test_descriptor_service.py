"""Descriptors through the service as it is built: what is refused, given back and counted, and what never leaks."""

from __future__ import annotations

import json
from functools import partial

import pytest
from google.protobuf.json_format import MessageToDict

import ratelimit.server
from chassis.clock import SystemClock
from chassis.ids import RandomIds
from chassis.rpc import RpcError, StatusCode
from helpers.descriptor_service import SHOP, call, descriptor_service, descriptor_settings, limit_request
from helpers.valkey import administrator, running
from helpers.waiting import until_told
from protos import envoy_wire_pb2 as wire

OK, OVER = wire.RateLimitResponse.OK, wire.RateLimitResponse.OVER_LIMIT
MODES = ("", "envoyproxy")
TWO = """\
domain: two
descriptors:
  - key: quick
    rate_limit: {unit: second, requests_per_unit: 2}
  - key: slow
    rate_limit: {unit: day, requests_per_unit: 1}
"""
META = """\
domain: meta
descriptors:
  - {key: a, rate_limit: {unit: day, requests_per_unit: 9}, metadata: {svc: {name: one}}}
  - {key: b, rate_limit: {unit: day, requests_per_unit: 9}, metadata: {svc: {zone: eu}}}
"""


def _overridden(requests_per_unit: int, unit: int, domain: str = "shop") -> wire.RateLimitRequest:
    request = limit_request(domain, {"user": "u"})
    request.descriptors[0].limit.requests_per_unit = requests_per_unit
    request.descriptors[0].limit.unit = unit
    return request


def _with_hits(hits: int, *, back: bool = False) -> wire.RateLimitRequest:
    request = limit_request("shop", {"user": "u"})
    request.descriptors[0].hits_addend.value = hits
    request.descriptors[0].is_negative_hits = back
    return request


@pytest.mark.parametrize("compat", MODES)
@pytest.mark.parametrize("unit", [0, 8, 9, 99])
async def test_override_of_unknown_unit_is_refused_and_crashes_nothing(tmp_path, compat, unit):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, descriptors_compat=compat)) as service:
        assert (await call(service, _overridden(100, unit))).overall_code == OVER
        assert (await call(service, limit_request("shop", {"user": "u"}))).statuses[0].limit_remaining == 2


async def test_override_of_seven_is_a_week_and_of_limit_zero_refuses(tmp_path):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP)) as service:
        week = (await call(service, _overridden(100, 7))).statuses[0].current_limit
        assert (week.requests_per_unit, week.unit) == (100, wire.RateLimitResponse.RateLimit.WEEK)
        assert (await call(service, _overridden(0, 1))).overall_code == OVER


@pytest.mark.parametrize("compat", MODES)
@pytest.mark.parametrize("hits", [2**53, 2**63 - 1, 2**64 - 1])
async def test_hits_that_cannot_be_counted_are_refused_and_poison_nothing(tmp_path, compat, hits):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, descriptors_compat=compat)) as service:
        assert (await call(service, _with_hits(hits))).overall_code == OVER
        assert (await call(service, _with_hits(1))).statuses[0].limit_remaining == 2


@pytest.mark.parametrize("compat", MODES)
async def test_hits_are_given_back_down_to_nothing(tmp_path, compat):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, descriptors_compat=compat)) as service:
        assert (await call(service, _with_hits(3))).statuses[0].limit_remaining == 0
        back = await call(service, _with_hits(2, back=True))
        assert (back.overall_code, back.statuses[0].limit_remaining) == (OK, 2)
        assert (await call(service, _with_hits(50, back=True))).statuses[0].limit_remaining == 3
        assert (await call(service, _with_hits(3))).overall_code == OK


async def test_giving_back_opens_a_limit_that_memory_held_over(tmp_path):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, local_cache_size=10)) as service:
        await call(service, _with_hits(3))
        assert [(await call(service, _with_hits(1))).overall_code for _ in range(2)] == [OVER, OVER]
        assert (await call(service, _with_hits(1, back=True))).overall_code == OK
        assert (await call(service, _with_hits(1))).overall_code == OK


@pytest.mark.parametrize("compat", MODES)
async def test_request_with_very_many_descriptors_is_refused(tmp_path, compat):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, descriptors_compat=compat)) as service:
        many = limit_request("shop", *({"user": str(number)} for number in range(300)))
        assert (await call(service, many)).overall_code == OVER


async def test_metadata_of_one_request_never_shows_in_another(tmp_path):
    async with descriptor_service(descriptor_settings(tmp_path, META, descriptor_metadata=True)) as service:
        both = await call(service, limit_request("meta", {"a": "x"}, {"b": "x"}))
        assert MessageToDict(both.dynamic_metadata)["metadata"] == {"svc": {"name": "one", "zone": "eu"}}
        alone = await call(service, limit_request("meta", {"a": "x"}))
        assert MessageToDict(alone.dynamic_metadata)["metadata"] == {"svc": {"name": "one"}}


@pytest.mark.parametrize(("setting", "code"), [("", OVER), ("deny", OVER), ("allow", OK)])
async def test_unknown_domain_is_what_the_operator_says(tmp_path, setting, code):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP, unknown_domain=setting)) as service:
        assert (await call(service, limit_request("elsewhere", {"user": "u"}))).overall_code == code
        assert _events(service) == {"unknown_domain": 1}


async def test_descriptor_that_matches_nothing_passes_and_is_counted(tmp_path):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP)) as service:
        answer = await call(service, limit_request("shop", {"nobody": "x"}, {"user": "u", "deeper": "x"}))
        assert (answer.overall_code, len(answer.statuses)) == (OK, 2)
        assert _events(service) == {"unmatched": 2}


@pytest.mark.parametrize("request_", [limit_request("shop"), limit_request("", {"user": "u"})])
async def test_request_that_names_no_limit_is_refused_or_ends_unknown(tmp_path, request_):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP)) as service:
        refused = await call(service, request_)
        assert (refused.overall_code, json.loads(refused.raw_body)["reason"]) == (OVER, "limit_request_invalid")
    (tmp_path / "compat").mkdir()
    async with descriptor_service(
        descriptor_settings(tmp_path / "compat", SHOP, descriptors_compat="envoyproxy")
    ) as service:
        with pytest.raises(RpcError) as caught:
            await call(service, request_)
        assert caught.value.code is StatusCode.UNKNOWN


@pytest.mark.parametrize("setting", ["deny", "allow", "error"])
async def test_store_that_is_away_gives_what_the_operator_says(tmp_path, setting):
    settings = descriptor_settings(tmp_path, SHOP, store="redis://127.0.0.1:1/0", descriptors_on_store_failure=setting)
    async with descriptor_service(settings) as service:
        request = limit_request("shop", {"user": "u"})
        if setting == "error":
            with pytest.raises(RpcError):
                await call(service, request)
        else:
            assert (await call(service, request)).overall_code == (OK if setting == "allow" else OVER)
        assert _events(service) == {"store_failure": 1}
        # What no limit holds for needs no store.
        assert (await call(service, limit_request("shop", {"nobody": "u"}))).overall_code == OK


async def test_seconds_have_a_store_of_their_own_and_a_refusal_of_either_charges_neither(tmp_path):
    async with (
        running() as main,
        running() as second,
        administrator(main.url) as slow,
        administrator(second.url) as quick,
    ):
        settings = descriptor_settings(tmp_path, TWO, store=main.url, store_per_second=second.url)
        async with descriptor_service(settings) as service:
            assert (await call(service, limit_request("two", {"quick": "x"}, {"slow": "x"}))).overall_code == OK
            assert [len(await each.keys("*:d:*")) for each in (slow, quick)] == [1, 1]
            assert (await call(service, limit_request("two", {"quick": "y"}, {"slow": "x"}))).overall_code == OVER
            assert {await quick.get(key) for key in await quick.keys() if b"1:y" in key} <= {b"0"}
            over = await call(service, limit_request("two", {"quick": "z"}, {"slow": "z"}, hits=3))
            assert over.overall_code == OVER
            assert [key for key in await slow.keys() if b"1:z" in key] == []


async def test_record_names_rule_and_count_and_no_value_of_the_request(tmp_path):
    settings = descriptor_settings(tmp_path, SHOP)
    async with descriptor_service(settings) as service:
        await call(service, limit_request("shop", {"user": "jane@example.test"}))
    (line,) = (tmp_path / "limits.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["verdict"] == "within_limit"
    assert (record["readings"][0]["quota"], record["readings"][0]["used"]) == ("shop.user", "1")
    assert "jane" not in line


async def test_metrics_have_no_label_of_a_request(tmp_path):
    async with descriptor_service(descriptor_settings(tmp_path, SHOP)) as service:
        for number in range(20):
            await call(service, limit_request("shop", {"user": f"value-{number}"}))
            await call(service, limit_request(f"domain-{number}", {"user": "u"}))
        labels = {tuple(sample.labels.values()) for metric in service.registry.collect() for sample in metric.samples}
        assert not any("value-" in text or "domain-" in text for values in labels for text in values)
        assert ("shop.user", "total") in labels


def _events(service) -> dict[str, float]:
    samples = (sample for metric in service.registry.collect() for sample in metric.samples)
    return {
        sample.labels["event"]: sample.value
        for sample in samples
        if sample.name == "tollhouse_descriptor_requests_total"
    }


class SkewedClock(SystemClock):
    """A wall clock that is wrong by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wall(self) -> float:
        return super().wall() + self._seconds


async def is_counted(service) -> bool:
    """Tell whether the store answers: each time about somebody else."""
    request = limit_request("shop", {"user": RandomIds().decision_id()})
    return (await call(service, request)).overall_code == OK


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
async def test_replicas_whose_clocks_differ_share_the_window(tmp_path, skew):
    async with running() as store:
        services = []
        for name, clock in (("a", SkewedClock(0.0)), ("b", SkewedClock(skew))):
            (tmp_path / name).mkdir()
            settings = descriptor_settings(tmp_path / name, SHOP, store=store.url)
            services.append(ratelimit.server.build(settings, clock))
        for service in services:
            await service.start()
        try:
            request = limit_request("shop", {"user": "u"})
            for service in services:
                await until_told(partial(is_counted, service))
            answers = [await call(service, request) for service in services * 4]
        finally:
            for service in services:
                await service.stop()
        assert [answer.overall_code for answer in answers].count(OK) == 3
        assert 0 < answers[1].statuses[0].duration_until_reset.seconds <= 3600
