"""What ratelimit adds to an answer reaches the client through a real Envoy: headers on a pass, and each status."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from helpers.gate_stubs import StubExtauthz, StubRatelimit, serving
from ratelimit.headers import Told
from ratelimit.model import OverLimit, QuotaState, Verdict, WithinLimit
from ratelimit.reasons import Reason
from ratelimit.wire import render_rate_limit_response
from tollhouse.probe import get_text, wait_until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports
from tollhouse.up.stack import Stack, envoy_command

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOLD = Told(86_400, "", 0, draft=True, legacy=True)
LEFT = QuotaState("per_day", 10, 4, 60, is_over=False, is_shadow=False, is_per_second=False, told=TOLD)
USED_UP = LEFT._replace(used=10, is_over=True)


class Chain:
    """One Envoy on the reference chain before stubs; `verdict` is what ratelimit says."""

    def __init__(self, port: int, ratelimit: StubRatelimit) -> None:
        self._port = port
        self._ratelimit = ratelimit

    async def send(self, verdict: Verdict) -> tuple[int, dict[str, str]]:
        self._ratelimit.answer = render_rate_limit_response(
            verdict, decision_id="d" * 32, errors_uri="https://docs.test/errors"
        )
        return await asyncio.to_thread(self._send)

    def _send(self) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
        try:
            headers: dict[str, Any] = {"content-type": "application/json"}
            connection.request("POST", "/v1/payments", body=b"{}", headers=headers)
            response = connection.getresponse()
            response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chain]:
    directory: Path = tmp_path_factory.mktemp("chain")
    ports = dataclasses.replace(choose_ports(None), upstream=stack.ports.upstream)
    configuration = directory / "envoy.yaml"
    configuration.write_text(on_ports(read_reference(), ports), "utf-8")
    ratelimit = StubRatelimit()
    async with serving(StubExtauthz(), ports.extauthz), serving(ratelimit, ports.ratelimit):
        log = directory / "access.jsonl"
        spec = ChildSpec("envoy", envoy_command(configuration), directory / "envoy.log", log)
        envoy = Child(spec, lambda _: None)
        await envoy.start()
        try:
            is_ready = await wait_until(lambda: get_text(ports.envoy_admin, "/ready") is not None, 20)
            assert is_ready, envoy.last_lines()
            yield Chain(ports.envoy, ratelimit)
        finally:
            await envoy.stop()


async def test_pass_and_refusal_tell_what_is_left(chain: Chain) -> None:
    status, headers = await chain.send(WithinLimit((LEFT,)))
    assert status == 200
    assert headers["ratelimit"] == '"per_day";r=6;t=60'
    assert headers["ratelimit-policy"] == '"per_day";q=10;w=86400'
    assert headers["x-ratelimit-remaining"] == "6"

    status, headers = await chain.send(OverLimit(Reason.QUOTA_EXCEEDED, USED_UP, (USED_UP,), 60))
    assert status == 429
    assert (headers["ratelimit"], headers["retry-after"]) == ('"per_day";r=0;t=60', "60")


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.code)
async def test_client_sees_the_status_of_every_reason(chain: Chain, reason: Reason) -> None:
    status, headers = await chain.send(OverLimit(reason))
    assert status == reason.spec.http_status
    assert headers["content-type"] == "application/problem+json"
