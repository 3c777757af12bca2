"""What comes of a call that was shed: a refusal like any other, with a record, from a service that read nothing."""

from __future__ import annotations

import json
from pathlib import Path

from extauthz.servicer import CHECK_METHOD
from helpers.issuer import SigningKey
from helpers.services import gate, limiter, reason_of
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD


def last_record(log: Path) -> dict[str, object]:
    return dict(json.loads(log.read_text("utf-8").splitlines()[-1]))


async def test_shed_check_is_a_503_that_can_be_asked_about(tmp_path: Path):
    async with gate(tmp_path, SigningKey("ES256", "k1")) as running:
        response = wire.CheckResponse.FromString(running.service.sheds[CHECK_METHOD]())
        metrics = running.service.registry
        counted = metrics.get_sample_value(
            "tollhouse_decisions_total",
            {"service": "extauthz", "verdict": "unavailable", "reason": "overloaded", "step": "receive"},
        )
    headers = {option.header.key: option.header.value for option in response.error_response.headers}
    record = last_record(running.log)

    assert reason_of(response) == "overloaded"
    assert response.status.code == 14
    assert response.error_response.status.code == 503
    assert headers["retry-after"] == "1"
    assert headers["x-tollhouse-decision-id"] == record["decision_id"]
    assert (record["verdict"], record["reason"], record["step"]) == ("unavailable", "overloaded", "receive")
    assert counted == 1


async def test_shed_limit_call_is_over_limit_with_a_503(tmp_path: Path):
    async with limiter(tmp_path) as service:
        response = wire.RateLimitResponse.FromString(service.sheds[SHOULD_RATE_LIMIT_METHOD]())
    problem = json.loads(response.raw_body)
    record = last_record(tmp_path / "limits.jsonl")

    assert response.overall_code == wire.RateLimitResponse.OVER_LIMIT
    assert (problem["status"], problem["reason"]) == (503, "limiter_overloaded")
    assert problem["decision_id"] == record["decision_id"]
    assert (record["reason"], record["step"]) == ("limiter_overloaded", "receive")
