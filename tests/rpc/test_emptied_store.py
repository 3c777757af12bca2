"""ratelimit over a store that is emptied while it serves: amounts stop until an operator accepts it, counts go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from helpers.emptied_stores import accept_emptied
from helpers.services import limiter, should_rate_limit
from helpers.valkey import SERVERS, administrator, running
from protos import envoy_wire_pb2 as wire
from tollhouse.embedded_store import EmbeddedStore

PAYMENT = {
    "handoff": "2",
    "merchant_id": "m_daily",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": "9000",
    "card_key": "none",
    "sub_merchant": "none",
    "payer": "none",
    "device": "none",
    "ip": "none",
    "idempotency": "none",
    "decision_id": "d" * 32,
    "policy_revision": "a" * 16,
}
LOOK = {**PAYMENT, "operation": "read_payment", "currency": "none", "amount_minor": "none"}


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedStore]:
    async with running(request.param) as store:
        yield store


def reason(response: wire.RateLimitResponse) -> str:
    is_over = response.overall_code == wire.RateLimitResponse.OVER_LIMIT
    return str(json.loads(response.raw_body)["reason"]) if is_over else "ok"


async def test_days_amount_cannot_be_spent_again_in_a_store_that_was_emptied(tmp_path, server):
    async with limiter(tmp_path, server.url) as service, administrator(server.url) as admin:
        assert [reason(await should_rate_limit(service, PAYMENT)) for _ in range(2)] == ["ok", "quota_exceeded"]
        await admin.flushall()
        assert [reason(await should_rate_limit(service, PAYMENT)) for _ in range(3)] == ["store_unavailable"] * 3
        assert reason(await should_rate_limit(service, LOOK)) == "ok"
        assert "the store was emptied: it has no epoch" in service.readiness().warnings
        await accept_emptied(server.url)
        # The first payment after the loss was charged by the call that found it, the refused ones after it were not.
        assert reason(await should_rate_limit(service, {**PAYMENT, "amount_minor": "1000"})) == "store_unavailable"
        assert reason(await should_rate_limit(service, {**PAYMENT, "amount_minor": "1000"})) == "ok"
        assert reason(await should_rate_limit(service, {**PAYMENT, "amount_minor": "1"})) == "quota_exceeded"


async def test_evicting_store_counts_no_amounts(tmp_path, server):
    async with administrator(server.url) as admin:
        await admin.config_set("maxmemory-policy", "allkeys-lru")
        async with limiter(tmp_path, server.url) as service:
            assert reason(await should_rate_limit(service, PAYMENT)) == "store_unavailable"
            assert reason(await should_rate_limit(service, LOOK)) == "ok"
