"""Both services built as they run, over a copy of the shipped policy set; calls are bytes in, bytes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import extauthz.server
import ratelimit.server
from chassis.clock import SystemClock
from chassis.policy_service import PolicyService
from chassis.service import Service
from extauthz.servicer import CHECK_METHOD
from helpers.cards import write_card_keys_file
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD

SHIPPED = Path(__file__).parents[2] / "policies"
AUDIENCE = "https://payments.tollhouse.test"
DEVELOPMENT_ISSUER = "http://127.0.0.1:18080"
PATIENCE_SECONDS = 5.0


def copy_policies(target: Path, issuer: str = DEVELOPMENT_ISSUER) -> Path:
    """Copy the shipped set and let it trust `issuer`."""
    shutil.copytree(SHIPPED, target)
    edit(target / "providers.yaml", DEVELOPMENT_ISSUER, issuer)
    return target


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def payment(**changes: Any) -> dict[str, Any]:
    """Return the body of a payment that the shipped rules let pass."""
    return {"merchant_id": "m_active", "amount": {"minor_units": 1250, "currency": "EUR"}, **changes}


@dataclass
class Gate:
    """A running extauthz."""

    service: PolicyService[Any]
    policies: Path
    issuer: IssuerServer
    key: SigningKey
    log: Path
    card_keys: Path

    def token(self, **claims: Any) -> str:
        """Return a good token of merchant m_active; None takes a claim off."""
        merged = {"aud": AUDIENCE, "merchant_id": "m_active", **claims}
        return mint(self.key, good_claims(self.issuer.issuer, SystemClock().wall(), **merged))

    async def check(
        self, token: str | None = None, *, deadline: float | None = None, **http: Any
    ) -> wire.CheckResponse:
        """Send one check of a payment as Envoy would."""
        data = check_bytes(token, **http)
        until = SystemClock().monotonic() + PATIENCE_SECONDS if deadline is None else deadline
        return wire.CheckResponse.FromString(await self.service.methods[CHECK_METHOD](data, until))

    async def reason(self, token: str | None = None, **http: Any) -> str:
        """Return `allow` or the reason code of the refusal."""
        return reason_of(await self.check(token, **http))


def check_bytes(token: str | None = None, *, body: Any = None, raw_headers: bool = False, **http: Any) -> bytes:
    """Return a serialised CheckRequest."""
    message = wire.CheckRequest()
    request = message.attributes.request.http
    fields = {"method": "POST", "path": "/v1/payments", "host": "payments.tollhouse.test", "scheme": "https", **http}
    headers: Mapping[str, str] = {"content-type": "application/json", **fields.pop("headers", {})}
    if token is not None:
        headers = {**headers, "authorization": f"Bearer {token}"}
    for name, value in headers.items():
        if raw_headers:
            request.header_map.headers.add(key=name, raw_value=value.encode())
        else:
            request.headers[name] = value
    for name, value in fields.items():
        setattr(request, name, value)
    request.raw_body = body if isinstance(body, bytes) else json.dumps(payment() if body is None else body).encode()
    message.attributes.source.address.socket_address.address = "192.0.2.7"
    return message.SerializeToString()


def reason_of(response: wire.CheckResponse) -> str:
    """Return `allow` or the reason code; asserts that code and status agree."""
    if response.status.code == 0:
        assert response.WhichOneof("http_response") == "ok_response"
        return "allow"
    refusal = response.denied_response if response.HasField("denied_response") else response.error_response
    assert refusal.status.code >= 400
    return str(json.loads(refusal.body)["reason"])


@asynccontextmanager
async def gate(tmp_path: Path, key: SigningKey, *changes: tuple[str, str, str]) -> AsyncIterator[Gate]:
    """Run extauthz with an issuer of its own; ready when the keys are there.

    Args:
        tmp_path: Where its files go.
        key: What the issuer signs with.
        changes: Of the shipped policy set: file, text that must be in it, and what stands there instead.
    """
    async with IssuerServer(keys=[key]) as issuer:
        policies = copy_policies(tmp_path / "policies", issuer.issuer)
        for name, old, new in changes:
            edit(policies / name, old, new)
        log = tmp_path / "decisions.jsonl"
        card_keys = write_card_keys_file(tmp_path / "card.keys")
        settings = ServiceSettings(policies=str(policies), decision_log=str(log), card_key_file=str(card_keys))
        service = extauthz.server.build(settings)
        await service.start()
        try:
            yield Gate(service, policies, issuer, key, log, card_keys)
        finally:
            await service.stop()


async def should_rate_limit(service: Service, entries: Mapping[str, str]) -> wire.RateLimitResponse:
    """Send one hand-off as Envoy would."""
    request = wire.RateLimitRequest(domain="tollhouse")
    descriptor = request.descriptors.add()
    for name, value in entries.items():
        descriptor.entries.add(key=name, value=value)
    deadline = SystemClock().monotonic() + PATIENCE_SECONDS
    method = service.methods[SHOULD_RATE_LIMIT_METHOD]
    return wire.RateLimitResponse.FromString(await method(request.SerializeToString(), deadline))


@asynccontextmanager
async def limiter(tmp_path: Path, store: str = "memory:") -> AsyncIterator[PolicyService[Any]]:
    """Run ratelimit over a copy of the shipped set."""
    policies = copy_policies(tmp_path / "limiter-policies")
    log = str(tmp_path / "limits.jsonl")
    service = ratelimit.server.build(ServiceSettings(policies=str(policies), store=store, decision_log=log))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
