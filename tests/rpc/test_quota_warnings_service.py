"""Warn levels through the service: on the scrape and in the log, and the record of the payment says nothing else."""

from __future__ import annotations

import json
import logging

from prometheus_client import generate_latest

import ratelimit.server
from helpers.services import copy_policies, should_rate_limit
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

QUOTA = """\
quotas:
  - {id: day, owner: a, metric: amount, interval: daily, operations: [create_payment], currency: EUR, limit: 10000,
     warn_at: [80, 95]}
"""


def payment(number: int, amount: int) -> dict[str, str]:
    apart = dict.fromkeys(("card_key", "sub_merchant", "payer", "device", "ip", "idempotency"), "none")
    return {
        "handoff": "2",
        "merchant_id": "m_active",
        "operation": "create_payment",
        "currency": "EUR",
        "amount_minor": str(amount),
        **apart,
        "decision_id": f"{number:032x}",
        "policy_revision": "a" * 16,
    }


async def test_a_crossed_level_is_on_the_scrape_once_and_the_payment_passes(tmp_path, caplog):
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(QUOTA)
    log = tmp_path / "limits.jsonl"
    service = ratelimit.server.build(
        ServiceSettings(policies=str(policies), store="memory:", decision_log=str(log), single_replica=True)
    )
    await service.start()
    try:
        with caplog.at_level(logging.WARNING, "ratelimit"):
            for number, amount in enumerate((7999, 1, 100)):
                answer = await should_rate_limit(service, payment(number, amount))
                assert answer.overall_code == wire.RateLimitResponse.OK
        page = generate_latest(service.registry).decode()
    finally:
        await service.stop()
    shown = [line for line in page.splitlines() if line.startswith("tollhouse_quota_warnings")]
    assert shown == ['tollhouse_quota_warnings_total{level="80",quota="day"} 1.0']
    assert [each.getMessage() for each in caplog.records if "quota_warning" in each.getMessage()] == [
        "quota_warning: day of m_active has reached 80 %"
    ]
    assert [json.loads(line)["reason"] for line in log.read_text().splitlines()] == ["within_limit"] * 3
