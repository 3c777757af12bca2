"""A repeated payment from the gate's answer to the quotas' verdict: counted once where the upstream takes it once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ratelimit.server
from helpers.issuer import SigningKey
from helpers.services import Gate, gate, payment, reason_of, should_rate_limit
from policy.handoff import ENTRIES
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

OK = 1
PROFILE = "    profile: generic\n  - operation: read_payment"
TWO_A_DAY = """quotas:
  - {id: two_a_day, owner: risk, metric: count, interval: daily, operations: [create_payment], limit: 2}
  - {id: three_at_once, owner: risk, metric: count, interval: rate, length: 1h, operations: [create_payment], limit: 3}
"""


def mode(name: str) -> tuple[str, str, str]:
    return "routes.yaml", PROFILE, f"    idempotency: {{mode: {name}}}\n{PROFILE}"


@dataclass
class Pair:
    """Gate and limiter over one policy set; what one says, the other reads."""

    gate: Gate
    limiter: Any
    token: str

    async def pay(self, idempotency_key: str | None = None, **changes: Any) -> str:
        """Return `ok`, or the reason code of whoever refused."""
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        checked = await self.gate.check(self.token, headers=headers, body=payment(**changes))
        if reason_of(checked) != "allow":
            return reason_of(checked)
        response = await self._limit(checked)
        return "ok" if response.overall_code == OK else str(json.loads(response.raw_body)["reason"])

    async def ask(self) -> dict[str, str]:
        """Return the response headers that the limiter adds to a payment."""
        response = await self._limit(await self.gate.check(self.token, body=payment()))
        return {each.key: each.value for each in response.response_headers_to_add}

    async def _limit(self, checked: wire.CheckResponse) -> wire.RateLimitResponse:
        entries = {name: checked.dynamic_metadata.fields[name].string_value for name in ENTRIES}
        return await should_rate_limit(self.limiter, entries)


@asynccontextmanager
async def pair(tmp_path: Path, *changes: tuple[str, str, str]) -> AsyncIterator[Pair]:
    async with gate(tmp_path, SigningKey("RS256"), ("quotas.yaml", "quotas:\n", TWO_A_DAY), *changes) as running:
        settings = ServiceSettings(policies=str(running.policies), store="memory:", single_replica=True)
        service = ratelimit.server.build(settings)
        await service.start()
        try:
            yield Pair(running, service, running.token())
        finally:
            await service.stop()


async def test_repeat_is_one_payment_where_the_upstream_takes_it_once(tmp_path):
    async with pair(tmp_path, mode("upstream_enforced")) as both:
        assert [await both.pay("k-1"), await both.pay("k-1"), await both.pay("k-2")] == ["ok"] * 3
        assert await both.pay("k-2") == "rate_exceeded", "a rate counts every request"


async def test_third_payment_of_its_own_key_is_over(tmp_path):
    async with pair(tmp_path, mode("upstream_enforced")) as both:
        assert [await both.pay("k-1"), await both.pay("k-2"), await both.pay("k-3")] == ["ok", "ok", "quota_exceeded"]


async def test_same_key_with_another_body_is_refused(tmp_path):
    async with pair(tmp_path, mode("upstream_enforced")) as both:
        assert await both.pay("k-1") == "ok"
        assert await both.pay("k-1", amount={"minor_units": 1251, "currency": "EUR"}) == "idempotency_mismatch"


@pytest.mark.parametrize("name", ["required", "optional"])
async def test_repeat_is_counted_where_nobody_says_that_the_upstream_takes_it_once(tmp_path, name):
    async with pair(tmp_path, mode(name)) as both:
        assert [await both.pay("k-1") for _ in range(3)] == ["ok", "ok", "quota_exceeded"]


async def test_key_is_demanded_where_policy_says_so_and_must_be_plain(tmp_path):
    async with pair(tmp_path, mode("required")) as both:
        assert await both.pay() == "idempotency_missing"
        for text in ("", "a b", "a,b", '"a","b"', '"a";p=1', '""', "x" * 256, "a\u00e9"):
            assert await both.pay(text) == "idempotency_invalid"
        assert await both.pay('"a b"') == "ok"


async def test_payment_without_a_key_passes_where_keys_are_optional(tmp_path):
    async with pair(tmp_path, mode("optional")) as both:
        assert await both.pay() == "ok"
        assert await both.pay("a b") == "idempotency_invalid"


async def test_payers_are_counted_one_by_one_and_a_payment_without_one_is_refused(tmp_path):
    per_payer = TWO_A_DAY.replace("limit: 2}", "limit: 1, per: [merchant, payer]}")
    async with pair(tmp_path, ("quotas.yaml", TWO_A_DAY, per_payer)) as both:
        assert [await both.pay(payer={"id": "a"}), await both.pay(payer={"id": "b"})] == ["ok", "ok"]
        assert await both.pay(payer={"id": "a"}) == "quota_exceeded"
        assert await both.pay() == "subject_missing"


async def test_headers_tell_a_merchant_what_is_left_on_a_pass_and_on_a_refusal(tmp_path):
    async with pair(tmp_path, ("quotas.yaml", "quotas:\n", "headers: [draft, legacy]\nquotas:\n")) as both:
        first = await both.ask()
        assert '"two_a_day";r=1;t=' in first["ratelimit"]
        assert '"two_a_day";q=2;w=86400, "three_at_once";q=3;w=3600' in first["ratelimit-policy"]
        assert first["x-ratelimit-remaining"] == "1"
        assert "amount" not in first["ratelimit"]
        await both.ask()
        refused = await both.ask()
        assert '"two_a_day";r=0;t=' + refused["retry-after"] in refused["ratelimit"]
