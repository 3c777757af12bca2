"""A token gate over a real issuer on loopback, with a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chassis.http_client import HttpClient
from extauthz.model import Deny, Principal, Unavailable
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import CompiledProvider, compile_providers
from helpers.clock import FakeClock
from helpers.issuer import AUDIENCE, IssuerServer, SigningKey, good_claims, mint
from helpers.requests import bearer_request
from policy.schema.providers import Provider, ProvidersFile

PATIENCE_SECONDS = 5.0


def providers(issuer: str, **overrides: Any) -> tuple[CompiledProvider, ...]:
    """Return one provider for a loopback issuer."""
    values: dict[str, Any] = {
        "id": "test",
        "issuer": issuer,
        "allow_http": True,
        "audiences": (AUDIENCE,),
        "algorithms": ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"),
        "leeway_seconds": 60,
        **overrides,
    }
    return compile_providers(ProvidersFile(providers=(Provider.model_validate(values),)))


@dataclass
class TokenRig:
    """What a token test touches."""

    server: IssuerServer
    clock: FakeClock
    keys: KeySets
    cache: ClaimsCache
    gate: TokenGate
    key: SigningKey

    def reload(self, **overrides: Any) -> None:
        """Take a new policy snapshot into use."""
        compiled = providers(overrides.pop("issuer", self.server.issuer), **overrides)
        self.keys.follow(compiled)
        self.gate = TokenGate(compiled, self.keys, self.cache, self.clock)

    def token(self, key: SigningKey | None = None, **claims: Any) -> str:
        """Return a token of this issuer, good but for `claims`."""
        return mint(key or self.key, good_claims(self.server.issuer, self.clock.now, **claims))

    async def authenticate(self, token: str, **request: Any) -> Principal | Deny | Unavailable:
        deadline = self.clock.monotonic() + PATIENCE_SECONDS
        return await self.gate.authenticate(bearer_request(token, **request), deadline)


@asynccontextmanager
async def token_rig(key: SigningKey, *, path: str = "", **overrides: Any) -> AsyncIterator[TokenRig]:
    """Run an issuer with one key and a gate that trusts it; background refresh is the test's business."""
    clock = FakeClock()
    http = HttpClient()
    keys = KeySets(http, clock)
    async with IssuerServer(keys=[key], path=path) as server:
        rig = TokenRig(server, clock, keys, ClaimsCache(), TokenGate((), keys, ClaimsCache(), clock), key)
        rig.reload(**overrides)
        try:
            yield rig
        finally:
            server.gate.set()
            await keys.stop()
            await http.stop()
