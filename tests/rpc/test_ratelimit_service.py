"""ratelimit as it runs, over the shipped policy set, called with Envoy's bytes."""

from __future__ import annotations

import json

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.clock import SystemClock
from helpers.services import limiter, should_rate_limit
from protos import decision_record_pb2
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD

OVER = wire.RateLimitResponse.OVER_LIMIT
OK = wire.RateLimitResponse.OK


def handoff(**changes):
    return {
        "handoff": "2",
        "merchant_id": "m_active",
        "operation": "create_payment",
        "currency": "EUR",
        "amount_minor": "1000",
        "card_key": "none",
        "sub_merchant": "none",
        "payer": "none",
        "device": "none",
        "ip": "none",
        "idempotency": "none",
        "decision_id": "d" * 32,
        "policy_revision": "a" * 16,
        **changes,
    }


@pytest_asyncio.fixture
async def running(tmp_path):
    async with limiter(tmp_path) as service:
        yield service


def reason(response):
    return json.loads(response.raw_body)["reason"] if response.overall_code == OVER else "ok"


async def test_payment_within_limits_passes_and_names_its_tightest_quota(running):
    response = await should_rate_limit(running, handoff())
    assert response.overall_code == OK
    assert len(response.statuses) == 1
    assert response.statuses[0].current_limit.name


async def test_daily_amount_is_refused_with_its_name_and_the_next_merchant_passes(running):
    first = await should_rate_limit(running, handoff(merchant_id="m_daily", amount_minor="9000"))
    second = await should_rate_limit(running, handoff(merchant_id="m_daily", amount_minor="1001"))
    assert (reason(first), reason(second)) == ("ok", "quota_exceeded")
    assert json.loads(second.raw_body)["quota"] == "amount_per_day_eur"
    assert int(next(h.value for h in second.response_headers_to_add if h.key == "retry-after")) > 0
    assert (await should_rate_limit(running, handoff())).overall_code == OK


async def test_single_payment_limit_is_403(running):
    response = await should_rate_limit(running, handoff(merchant_id="m_single", amount_minor="5001"))
    assert reason(response) == "single_limit_exceeded"
    assert response.dynamic_metadata.fields["http_status"].number_value == 403
    assert not [h for h in response.response_headers_to_add if h.key == "retry-after"]


async def test_currency_without_a_quota_is_refused(running):
    assert reason(await should_rate_limit(running, handoff(currency="USD"))) == "quota_undefined"


async def test_handoff_that_is_absent_is_refused(running):
    entries = {name: "absent" if name != "handoff" else "2" for name in handoff()}
    assert reason(await should_rate_limit(running, entries)) == "handoff_invalid"


async def test_record_carries_the_readings_in_the_fields_of_the_proto(running, tmp_path):
    await should_rate_limit(running, handoff())
    await running.stop()
    record = json.loads((tmp_path / "limits.jsonl").read_text())
    assert set(record) <= {field.name for field in decision_record_pb2.DecisionRecord.DESCRIPTOR.fields}
    assert (record["verdict"], record["decision_id"]) == ("within_limit", "d" * 32)
    assert {reading["quota"] for reading in record["readings"]} >= {"payments_per_second", "amount_per_day_eur"}


async def test_store_that_is_away_refuses_money(tmp_path):
    async with limiter(tmp_path, f"unix://{tmp_path}/nobody.sock") as service:
        response = await should_rate_limit(service, handoff())
        assert reason(response) == "store_unavailable"
        assert response.dynamic_metadata.fields["http_status"].number_value == 503
        read = handoff(operation="read_payment", currency="none", amount_minor="none")
        assert (await should_rate_limit(service, read)).overall_code == OK
        assert service.readiness().warnings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_bytes_get_an_answer_that_is_over_limit(running, data):
    request = wire.RateLimitRequest(domain="tollhouse")
    request.descriptors.add().entries.add(key="handoff", value="1")
    base = request.SerializeToString()
    position = data.draw(st.integers(0, len(base)))
    noise = data.draw(st.binary(max_size=40))
    message = data.draw(st.sampled_from([noise, base[:position] + noise + base[position:], base[:position]]))
    answer = await running.methods[SHOULD_RATE_LIMIT_METHOD](message, SystemClock().monotonic() + 5.0)
    assert wire.RateLimitResponse.FromString(answer).overall_code == OVER
