"""Payments with tokens that the development issuer is asked about, over real HTTP, through the whole service."""

from __future__ import annotations

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

import extauthz.server
from chassis.clock import SystemClock
from chassis.policy_service import PolicyService
from extauthz.servicer import CHECK_METHOD
from helpers.cards import write_card_keys_file
from helpers.services import PATIENCE_SECONDS, check_bytes, copy_policies, edit, payment, reason_of
from helpers.waiting import until
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire
from tollhouse.issuer import CLIENT_SECRET, make_issuer
from tollhouse.issuer_tokens import GATE_CLIENT, IssuedTokens

ALGORITHM = "      - ES256\n"
MONEY = "    moves_money: true # amount"
ASKED = """\
    introspection:
      endpoint: {issuer}/introspect
      client_id: {client}
      authentication: client_secret_basic
      opaque_tokens: true
      cache_seconds: 0
      timeout_ms: 2000
"""


@dataclass
class DevelopmentIssuer:
    """The running issuer."""

    url: str
    issued: IssuedTokens
    server: BaseWSGIServer

    def token(self, client: str = "m_active-opaque") -> str:
        """Get a token as a client does."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": CLIENT_SECRET}
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(f"{self.url}/token", data, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return str(json.load(answer)["access_token"])


@contextmanager
def development_issuer() -> Iterator[DevelopmentIssuer]:
    issued = IssuedTokens(SystemClock())
    server = make_server("127.0.0.1", 0, Flask(__name__), threaded=True)
    url = f"http://127.0.0.1:{server.port}"
    server.app = make_issuer(url, SystemClock(), issued)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield DevelopmentIssuer(url, issued, server)
    finally:
        server.shutdown()
        thread.join(PATIENCE_SECONDS)
        server.server_close()


@dataclass
class AskingGate:
    """A running extauthz and its issuer."""

    service: PolicyService[Any]
    issuer: DevelopmentIssuer
    log: Path

    async def check(self, token: str, amount: int = 1250, currency: str = "EUR") -> wire.CheckResponse:
        body = payment(amount={"minor_units": amount, "currency": currency})
        deadline = SystemClock().monotonic() + PATIENCE_SECONDS
        data = check_bytes(token, body=body)
        return wire.CheckResponse.FromString(await self.service.methods[CHECK_METHOD](data, deadline))

    async def reason(self, token: str, amount: int = 1250, currency: str = "EUR") -> str:
        return reason_of(await self.check(token, amount, currency))


@asynccontextmanager
async def asking_gate(tmp_path: Path, introspect: str = "") -> AsyncIterator[AskingGate]:
    with development_issuer() as issuer:
        policies = copy_policies(tmp_path / "policies", issuer.url)
        section = ASKED.format(issuer=issuer.url, client=GATE_CLIENT)
        edit(policies / "providers.yaml", ALGORITHM, ALGORITHM + section)
        if introspect:
            edit(policies / "routes.yaml", MONEY, f"    introspect: {introspect}\n{MONEY}")
        credentials = tmp_path / "credentials"
        credentials.mkdir(mode=0o700)
        (credentials / "development.secret").touch(mode=0o600)
        (credentials / "development.secret").write_text(CLIENT_SECRET)
        log = tmp_path / "decisions.jsonl"
        settings = ServiceSettings(
            policies=str(policies),
            decision_log=str(log),
            card_key_file=str(write_card_keys_file(tmp_path / "card.keys")),
            client_credentials_dir=str(credentials),
        )
        service = extauthz.server.build(settings)
        await service.start()
        try:
            await until(lambda: service.readiness().is_ready)
            yield AskingGate(service, issuer, log)
        finally:
            await service.stop()


async def test_opaque_token_pays_until_it_is_called_back(tmp_path):
    async with asking_gate(tmp_path) as gate:
        token = gate.issuer.token()
        assert await gate.reason(token) == "allow"
        gate.issuer.issued.forget(token)
        assert await gate.reason(token) == "access_token_invalid"
        assert await gate.reason("opaque_that-nobody-issued") == "access_token_invalid"
    assert token not in gate.log.read_text()


@pytest.mark.parametrize("client", ["m_active-expired", "m_active-other-audience"])
async def test_jwt_of_the_same_issuer_is_judged_as_before(tmp_path, client):
    async with asking_gate(tmp_path) as gate:
        assert (await gate.reason(gate.issuer.token(client))).startswith("access_token_")
        assert await gate.reason(gate.issuer.token("m_active")) == "allow"


async def test_issuer_is_asked_about_a_jwt_above_the_amount_alone(tmp_path):
    async with asking_gate(tmp_path, "{when: above, amount: 1000, currency: EUR}") as gate:
        token = gate.issuer.token("m_active")
        assert await gate.reason(token, 1001) == "allow"
        called_back = gate.issuer.token("m_active")
        gate.issuer.issued.forget(called_back)
        assert await gate.reason(called_back, 1000) == "allow"
        assert await gate.reason(called_back, 1001) == "access_token_invalid"
        assert await gate.reason(called_back, 1, "USD") == "access_token_invalid"


async def test_payment_that_is_refused_anyway_asks_nobody(tmp_path):
    async with asking_gate(tmp_path, "{when: always}") as gate:
        other = gate.issuer.token("m_small")  # the body names m_active
        gate.issuer.issued.forget(other)
        assert await gate.reason(other) == "merchant_mismatch"


async def test_endpoint_that_does_not_know_us_is_503_and_payments_below_go_on(tmp_path):
    async with asking_gate(tmp_path, "{when: above, amount: 1000, currency: EUR}") as gate:
        jwt, opaque = gate.issuer.token("m_active"), gate.issuer.token()
        assert await gate.reason(jwt, 10) == "allow"
        gate.issuer.server.app = Flask("gone")  # 404 to everything
        assert await gate.reason(jwt, 10) == "allow"
        for token, amount in ((jwt, 1001), (opaque, 10)):
            answer = await gate.check(token, amount)
            assert reason_of(answer) == "introspection_unavailable"
            assert answer.error_response.status.code == 503
            names = [option.header.key.lower() for option in answer.error_response.headers]
            assert "retry-after" in names
            assert "www-authenticate" not in names
