"""Tokens that only their issuer can read, through a real Envoy: while it answers, hangs, and is back."""

import asyncio
import contextlib
import http.client
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from helpers.bound_stack import BoundStack
from helpers.introspection import IntrospectionServer
from helpers.issuer import IssuerServer, SigningKey, good_claims
from helpers.services import AUDIENCE, edit, payment
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPAQUE = "opaque-5e3c1b2a9f"
SECRET = "not-for-logs-8c1d"
PROVIDER = """\
  - id: asked
    issuer: {issuer}
    allow_http: true
    audiences: [https://payments.tollhouse.test]
    algorithms: [ES256]
    introspection:
      endpoint: {endpoint}
      client_id: gate-1
      authentication: client_secret_basic
      opaque_tokens: true
      cache_seconds: 0
      timeout_ms: 500
"""


class AskingStack(BoundStack):
    """The stack whose extauthz has credentials for the issuer."""

    def _serve(self, name: str, port: int, admin_port: int) -> tuple[str, ...]:
        command = super()._serve(name, port, admin_port)
        credentials = str(self._card_keys.parent.parent / "credentials")
        return (*command, "--client-credentials-dir", credentials) if name == "extauthz" else command


@dataclass(frozen=True)
class OpaqueChain:
    """A running stack and the endpoint that it asks."""

    stack: AskingStack
    endpoint: IntrospectionServer
    issuer: str
    directory: Path

    def active(self, **more: Any) -> dict[str, Any]:
        """Return what the issuer says of a good token of merchant m_active."""
        claims = good_claims(self.issuer, SystemClock().wall(), aud=AUDIENCE, merchant_id="m_active")
        return {"active": True, **claims, **more}

    async def pay(self, token: str = OPAQUE) -> tuple[int, str]:
        """Send a payment; return status and reason, `allow` where it went upstream."""
        return await asyncio.to_thread(self._pay, token)

    def _pay(self, token: str) -> tuple[int, str]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.stack.ports.envoy, timeout=15)) as sending:
            sending.request("POST", "/v1/payments", body=json.dumps(payment()), headers=headers)
            answer = sending.getresponse()
            return answer.status, json.loads(answer.read()).get("reason", "allow")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[OpaqueChain]:
    directory = tmp_path_factory.mktemp("opaque")
    copy, credentials = directory / "policies", directory / "credentials"
    shutil.copytree(policies, copy)
    credentials.mkdir(mode=0o700)
    (credentials / "asked.secret").touch(mode=0o600)
    (credentials / "asked.secret").write_text(SECRET)
    async with IssuerServer(keys=[SigningKey("ES256", "k1")]) as issuer, IntrospectionServer() as endpoint:
        provider = PROVIDER.format(issuer=issuer.issuer, endpoint=endpoint.url)
        edit(copy / "providers.yaml", "providers:\n", f"providers:\n{provider}")
        stack = AskingStack(directory / "run", choose_ports(None), copy, "grpcio", is_tls=False)
        try:
            await stack.start(lambda _: None)
            yield OpaqueChain(stack, endpoint, issuer.issuer, directory)
        finally:
            await stack.stop()


async def test_opaque_token_pays_while_its_issuer_calls_it_active(chain: OpaqueChain):
    chain.endpoint.say = lambda token: chain.active() if token == OPAQUE else {"active": False}
    assert await chain.pay() == (200, "allow")
    assert await chain.pay("opaque-nobody-issued-it") == (401, "access_token_invalid")
    chain.endpoint.say = lambda _token: {"active": False}
    assert await chain.pay() == (401, "access_token_invalid")


async def test_issuer_that_hangs_is_503_in_time_and_payments_pass_again_after_it(chain: OpaqueChain):
    chain.endpoint.say = lambda _token: chain.active()
    chain.endpoint.gate.clear()
    try:
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(chain.pay(f"{OPAQUE}-{number}") for number in range(5)))
        assert set(answers) == {(503, "introspection_unavailable")}
    finally:
        chain.endpoint.gate.set()
    assert await chain.pay() == (200, "allow")


async def test_neither_tokens_nor_our_secret_are_written_down(chain: OpaqueChain):
    chain.endpoint.say = lambda _token: chain.active()
    assert await chain.pay() == (200, "allow")
    written = [path for path in (chain.directory / "run").rglob("*") if path.suffix in (".log", ".jsonl")]
    texts = [path.read_text("utf-8", "replace") for path in written]
    assert any("m_active" in text for text in texts)
    assert not any(OPAQUE in text or SECRET in text for text in texts)
