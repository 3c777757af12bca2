"""extauthz as it runs, over a policy set that demands signed payments; calls are Envoy's bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import extauthz.server
from chassis.clock import SystemClock
from chassis.policy_service import PolicyService
from extauthz.servicer import CHECK_METHOD
from helpers.bound_gate import as_envoy, headers_of
from helpers.cards import write_card_keys_file
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, PATIENCE_SECONDS, check_bytes, copy_policies, edit, payment, reason_of
from helpers.signing import Signed, SigningClient
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

MONEY = "    moves_money: true # amount"


@dataclass
class SignedGate:
    """A replica of extauthz, and the client whose key it knows."""

    service: PolicyService[Any]
    issuer: IssuerServer
    key: SigningKey
    client: SigningClient
    other: SigningClient
    body: bytes = field(default=json.dumps(payment()).encode())

    def token(self, **claims: Any) -> str:
        """Return a good token of the client shop-1 and merchant m_active."""
        merged = {"aud": AUDIENCE, "merchant_id": "m_active", **claims}
        return mint(self.key, good_claims(self.issuer.issuer, SystemClock().wall(), **merged))

    def headers(self, token: str | None = None, **more: str) -> dict[str, str]:
        """Return the headers that are there before signing."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"content-type": "application/json", "authorization": f"Bearer {token or self.token()}", **named}

    def signed(self, how: Signed = Signed(), *, client: SigningClient | None = None, **changes: Any) -> dict[str, str]:  # noqa: B008
        """Return the headers of a payment that is signed."""
        return (client or self.client).sign(self.headers(), self.body, how, **changes)

    async def call(self, message: bytes) -> wire.CheckResponse:
        """Hand over the bytes of one CheckRequest."""
        deadline = SystemClock().monotonic() + PATIENCE_SECONDS
        return wire.CheckResponse.FromString(await self.service.methods[CHECK_METHOD](message, deadline))

    async def send(self, headers: dict[str, str], *, body: bytes | None = None, **more: Any) -> wire.CheckResponse:
        """Send a request of its own."""
        return await self.call(as_envoy(check_bytes(headers=headers, body=self.body if body is None else body, **more)))

    async def reason(self, headers: dict[str, str], **more: Any) -> str:
        """Return `allow` or the reason of the refusal."""
        return reason_of(await self.send(headers, **more))

    async def refusal(self, headers: dict[str, str], **more: Any) -> tuple[str, int, dict[str, str]]:
        """Return reason, status and headers of a refusal."""
        answer = await self.send(headers, **more)
        return reason_of(answer), answer.denied_response.status.code, headers_of(answer)


@asynccontextmanager
async def signed_gates(
    tmp_path: Path,
    key: SigningKey,
    demand: str = "{}",
    *,
    algorithm: str = "ecdsa-p256-sha256",
    store: str = "memory:",
    replicas: int = 1,
) -> AsyncIterator[list[SignedGate]]:
    """Run replicas of extauthz with one issuer; `demand` is the YAML of `message_signature` for all payments."""
    client, other = SigningClient(algorithm), SigningClient("ed25519", "other-key")
    async with IssuerServer(keys=[key]) as issuer, AsyncExitStack() as closing:
        policies = copy_policies(tmp_path / "policies", issuer.issuer)
        entries = client.entry(issuer.issuer) + other.entry(issuer.issuer, "shop-2")
        edit(policies / "providers.yaml", "providers:\n", f"signers:\n{entries}providers:\n")
        edit(policies / "routes.yaml", MONEY, f"    message_signature: {demand}\n{MONEY}")
        card_keys = str(write_card_keys_file(tmp_path / "card.keys"))
        gates = []
        for number in range(replicas):
            log = str(tmp_path / f"decisions-{number}.jsonl")
            settings = ServiceSettings(str(policies), decision_log=log, card_key_file=card_keys, store=store)
            service = extauthz.server.build(settings)
            await service.start()
            closing.push_async_callback(service.stop)
            gates.append(SignedGate(service, issuer, key, client, other))
        yield gates


@asynccontextmanager
async def signed_gate(tmp_path: Path, key: SigningKey, demand: str = "{}", **more: Any) -> AsyncIterator[SignedGate]:
    """Run one replica; see `signed_gates`."""
    async with signed_gates(tmp_path, key, demand, **more) as (gate,):
        yield gate
