"""extauthz as it runs, over a policy set that takes bound tokens; calls are Envoy's bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import extauthz.server
from chassis.clock import SystemClock
from chassis.policy_service import PolicyService
from extauthz.servicer import CHECK_METHOD
from helpers.cards import write_card_keys_file
from helpers.dpop import DpopClient
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, PATIENCE_SECONDS, check_bytes, copy_policies, edit, reason_of
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

ADDRESS = "https://payments.tollhouse.test/v1/payments"
_STREAM_IDS = count(7_000_000_000)


@dataclass
class BoundPolicy:
    """What differs from the shipped set.

    Attributes:
        dpop: YAML of the provider's `dpop`; empty for none.
        certificate: YAML of `client_certificate`; empty for none.
        demand: `sender_constraint` of create_payment.
        store: Of `--store`.
        has_nonce_key: A nonce key file is given.
        first: Further settings of the first replica.
    """

    dpop: str = "{}"
    certificate: str = ""
    demand: str = "none"
    store: str = "memory:"
    has_nonce_key: bool = False
    first: dict[str, Any] = field(default_factory=dict)

    def write(self, policies: Path) -> None:
        """Change a copy of the shipped set."""
        providers = policies / "providers.yaml"
        if self.dpop:
            edit(providers, "    leeway_seconds: 30", f"    dpop: {self.dpop}\n    leeway_seconds: 30")
        if self.certificate:
            providers.write_text(f"{providers.read_text()}client_certificate: {self.certificate}\n")
        money = "    moves_money: true # amount"
        edit(policies / "routes.yaml", money, f"    sender_constraint: {self.demand}\n{money}")


@dataclass
class BoundGate:
    """A replica of extauthz, and a client with a DPoP key."""

    service: PolicyService[Any]
    issuer: IssuerServer
    key: SigningKey
    policies: Path
    client: DpopClient = field(default_factory=lambda: DpopClient(address=ADDRESS))

    def token(self, **claims: Any) -> str:
        """Return a good token of merchant m_active, bound to nothing."""
        merged = {"aud": AUDIENCE, "merchant_id": "m_active", **claims}
        return mint(self.key, good_claims(self.issuer.issuer, SystemClock().wall(), **merged))

    def bound(self, **cnf: Any) -> str:
        """Return a token that is bound to the client's key, or to what `cnf` says."""
        return self.token(cnf=cnf or {"jkt": self.client.jkt})

    def proof(self, token: str, **claims: Any) -> str:
        """Return a fresh proof of the client."""
        return self.client.proof(token, SystemClock().wall(), **claims)

    async def call(self, message: bytes) -> wire.CheckResponse:
        """Hand over the bytes of one CheckRequest."""
        deadline = SystemClock().monotonic() + PATIENCE_SECONDS
        return wire.CheckResponse.FromString(await self.service.methods[CHECK_METHOD](message, deadline))

    async def send(self, token: str, proof: str | None, **more: Any) -> wire.CheckResponse:
        """Send a payment with the scheme DPoP, as a request of its own."""
        return await self.call(dpop_bytes(token, proof, **more))

    async def reason(self, token: str, proof: str | None, **more: Any) -> str:
        """Return `allow` or the reason of the refusal."""
        return reason_of(await self.send(token, proof, **more))


def dpop_bytes(token: str, proof: str | None, *, scheme: str = "DPoP", **more: Any) -> bytes:
    """Return a CheckRequest with a token of the scheme and a proof."""
    headers = {"authorization": f"{scheme} {token}", **({} if proof is None else {"dpop": proof})}
    return as_envoy(check_bytes(headers={**headers, **more.pop("headers", {})}, **more))


def as_envoy(message: bytes, *, certificate: str = "", principal: str = "") -> bytes:
    """Return a CheckRequest with what only Envoy knows: a stream of its own, the time, the peer's certificate."""
    request = wire.CheckRequest.FromString(message)
    request.attributes.request.http.id = str(next(_STREAM_IDS))
    request.attributes.request.time.FromNanoseconds(int(SystemClock().wall() * 1e9))
    source = request.attributes.source
    source.address.socket_address.port_value = 40_000
    source.certificate, source.principal = certificate, principal
    return request.SerializeToString()


def headers_of(response: wire.CheckResponse) -> dict[str, str]:
    """Return the headers of a refusal, or those that an allowed client is told."""
    kind = response.WhichOneof("http_response")
    options = response.ok_response.response_headers_to_add if kind == "ok_response" else getattr(response, kind).headers
    return {option.header.key: option.header.value for option in options}


@asynccontextmanager
async def bound_gates(
    tmp_path: Path, key: SigningKey, policy: BoundPolicy, replicas: int = 1
) -> AsyncIterator[list[BoundGate]]:
    """Run replicas of extauthz over one policy set and one issuer; ready when the keys are there."""
    async with IssuerServer(keys=[key]) as issuer:
        policies = copy_policies(tmp_path / "policies", issuer.issuer)
        policy.write(policies)
        gates: list[BoundGate] = []
        client = DpopClient(address=ADDRESS)
        try:
            for number in range(replicas):
                service = extauthz.server.build(_settings(tmp_path, policies, policy, number))
                await service.start()
                gates.append(BoundGate(service, issuer, key, policies, client))
            yield gates
        finally:
            for gate in gates:
                await gate.service.stop()


def _settings(tmp_path: Path, policies: Path, policy: BoundPolicy, number: int) -> ServiceSettings:
    keys = tmp_path / "card.keys"
    if not keys.exists():
        write_card_keys_file(keys)
    return ServiceSettings(
        policies=str(policies),
        decision_log=str(tmp_path / f"decisions-{number}.jsonl"),
        card_key_file=str(keys),
        store=policy.store,
        dpop_nonce_key_file=str(keys) if policy.has_nonce_key else "",
        **(policy.first if number == 0 else {}),
    )


def records(tmp_path: Path, number: int = 0) -> list[dict[str, Any]]:
    """Return the decision records of a replica that has stopped."""
    return [json.loads(line) for line in (tmp_path / f"decisions-{number}.jsonl").read_text().splitlines()]
