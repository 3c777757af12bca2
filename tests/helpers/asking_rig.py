"""A gate that asks the issuer of its tokens, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.http_client import HttpClient
from chassis.ids import RandomIds
from extauthz.introspection.asking import Introspector
from extauthz.introspection.clients import CredentialFiles
from extauthz.introspection.rules import IssuerAsking
from extauthz.model import Deny, Principal, Unavailable
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import compile_providers
from helpers.clock import FakeClock
from helpers.introspection import IntrospectionServer
from helpers.issuer import AUDIENCE, IssuerServer, SigningKey, good_claims, mint
from helpers.requests import bearer_request
from policy.schema.providers import ProvidersFile

OPAQUE = "opaque-token-0123456789"
KEY = SigningKey("ES256")
CLIENT = "gate-1"


def active(**changes: Any) -> dict[str, Any]:
    """Return what an issuer says of a good token; None takes a member off."""
    members = {
        "active": True,
        "aud": AUDIENCE,
        "sub": "merchant-service-1",
        "client_id": "shop-1",
        "scope": "payments:write",
        "iat": 1_700_000_000 - 10,
        "exp": 1_700_000_000 + 300,
        "jti": "t-1",
        "merchant_id": "m-100",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


@dataclass
class Rig:
    """A gate that may ask, the issuer's servers, and a clock that stands still."""

    endpoint: IntrospectionServer
    issuer: IssuerServer
    clock: FakeClock
    gate: TokenGate
    introspector: Introspector

    async def authenticate(self, token: str = OPAQUE, patience: float = 5.0) -> Principal | Deny | Unavailable:
        """Show a token to the gate."""
        return await self.gate.authenticate(bearer_request(token), self.clock.monotonic() + patience)

    async def confirm(self, token: str, *scopes: str) -> Deny | Unavailable | None:
        """Show a token to the gate, and have its issuer asked about it for an operation that needs `scopes`."""
        principal = await self.authenticate(token)
        assert isinstance(principal, Principal)
        return await self.gate.confirm_active(bearer_request(token), principal, scopes, self.clock.monotonic() + 5)


@asynccontextmanager
async def rig(
    tmp_path: Path, *, endpoint: IntrospectionServer | None = None, **introspection: Any
) -> AsyncIterator[Rig]:
    """Run a gate with one provider whose opaque tokens are asked about."""
    (tmp_path / "main.secret").write_text("s3cr:t/ä\n")
    clock, http = FakeClock(), HttpClient()
    async with IssuerServer(keys=[KEY]) as issuer, endpoint or IntrospectionServer() as server:
        file = ProvidersFile.model_validate({"providers": [asked_provider(issuer, server, introspection)]})
        compiled = compile_providers(file)
        keys = KeySets(http, clock)
        keys.follow(compiled)
        introspector = Introspector(http, keys, clock, RandomIds())
        gate = TokenGate(compiled, keys, ClaimsCache(), clock)
        asking = IssuerAsking(introspector, CredentialFiles(str(tmp_path)))
        gate.introspection = asking.compile(file, compiled, clock)
        try:
            yield Rig(server, issuer, clock, gate, introspector)
        finally:
            server.gate.set()
            await introspector.stop()
            await keys.stop()
            await http.stop()


def asked_provider(
    issuer: IssuerServer, server: IntrospectionServer, introspection: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a provider whose opaque tokens are asked about."""
    asked = {
        "endpoint": server.url,
        "client_id": CLIENT,
        "authentication": "client_secret_basic",
        "opaque_tokens": "true",
        "timeout_ms": 2000,
        **introspection,
    }
    return {
        "id": "main",
        "issuer": issuer.issuer,
        "allow_http": "true",
        "audiences": [AUDIENCE],
        "algorithms": ["ES256"],
        "introspection": asked,
    }


def jwt_of(gate: Rig, **claims: Any) -> str:
    """Return a good JWT access token of the issuer."""
    return mint(KEY, good_claims(gate.issuer.issuer, gate.clock.now, **claims))
