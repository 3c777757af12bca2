"""One extauthz as it runs, behind real gRPC, with a real issuer over HTTP; the clock starts at 1700000000."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from joserfc import jwk, jwt
from joserfc.jws import JWSRegistry

import extauthz.server
from chassis.policy_service import PolicyService
from extauthz.servicer import CHECK_METHOD
from helpers.cases.policy import case_set
from helpers.cases.request import Form, Request
from helpers.issuer import IssuerServer, b64
from helpers.waiting import until
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire

ISSUER = "https://as.example.test"
AUDIENCE = "https://pay.example.test"
NOW = 1_700_000_000
MAX_MESSAGE_BYTES = 32 * 1024 * 1024


class CaseClock:
    """Runs like a real clock from 1700000000 on; a case may turn it."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._shift = 0.0
        self._wall_shift = 0.0

    def wall(self) -> float:
        return NOW + self._wall_shift + self._shift + time.monotonic() - self._start

    def monotonic(self) -> float:
        return time.monotonic() + self._shift

    def advance(self, seconds: float) -> None:
        """Let both clocks jump ahead."""
        self._shift += seconds

    def set_wall(self, now: float) -> None:
        """Set the wall clock alone."""
        self._wall_shift += now - self.wall()


class Key:
    """A signing key of joserfc, so that what makes tokens is not what checks them."""

    def __init__(self, alg: str = "ES256", kid: str = "k1", bits: int = 2048) -> None:
        self.alg, self.kid = alg, kid
        self.key: Any
        if alg.startswith("ES"):
            self.key = jwk.ECKey.generate_key(f"P-{alg[2:]}")
        elif alg in ("Ed25519", "EdDSA"):
            self.key = jwk.OKPKey.generate_key("Ed25519")
        elif alg.startswith("HS"):
            self.key = jwk.OctKey.generate_key(256)
        else:
            self.key = jwk.RSAKey.generate_key(bits)

    def public(self, **members: Any) -> dict[str, Any]:
        """Return the JWK as an issuer publishes it."""
        listed = {**self.key.as_dict(private=False), "use": "sig", "alg": self.alg, "kid": self.kid, **members}
        return {name: value for name, value in listed.items() if value is not None}

    def header(self, **members: Any) -> dict[str, Any]:
        """Return the header of a good token; None takes a member off."""
        header = {"alg": self.alg, "typ": "at+jwt", "kid": self.kid, **members}
        return {name: value for name, value in header.items() if value is not None}

    def mint(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a signed token."""
        made = self.header(**header)
        return jwt.encode(made, claims, self.key, algorithms=[made["alg"]], registry=_registry(made["alg"]))

    def sign(self, signed: str) -> bytes:
        """Return the signature over any text, which no library would put into a token."""
        return self._algorithm().sign(signed.encode(), self.key)

    def seal(self, header: bytes, claims: bytes) -> str:
        """Return a token over exactly these bytes."""
        signed = f"{b64(header)}.{b64(claims)}"
        return f"{signed}.{b64(self.sign(signed))}"

    def _algorithm(self) -> Any:
        return JWSRegistry(algorithms=[self.alg]).get_alg(self.alg)


def _registry(alg: str) -> Any:
    # Without the check of registered members: a case may put anything into a header.
    return JWSRegistry(algorithms=[alg], strict_check_header=False)


@dataclass
class CaseRig:
    """What a builder touches."""

    service: PolicyService[Any]
    issuer: IssuerServer
    clock: CaseClock
    channel: grpc.aio.Channel
    folder: Path
    key: Key
    port: int
    keys: dict[str, Key] = field(default_factory=dict)

    def publish(self, *keys: Key | dict[str, Any]) -> None:
        """Let the issuer list these keys."""
        self.issuer.keys = [key.public() if isinstance(key, Key) else key for key in keys]

    def claims(self, **overrides: Any) -> dict[str, Any]:
        """Return the claims of a good token; None takes one off."""
        now = int(self.clock.wall())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "payer-1",
            "client_id": "shop-1",
            "iat": now,
            "exp": now + 600,
            "jti": "token-1",
            "scope": "payments:write payments:read",
            "merchant_id": "m_100",
            **overrides,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: Key | None = None, **claims: Any) -> str:
        """Return a token that is good but for `claims`."""
        return (key or self.key).mint(self.claims(**claims))

    async def send(self, request: Request, form: Form) -> wire.CheckResponse:
        """Put one check through gRPC."""
        call = self.channel.unary_unary(CHECK_METHOD)
        return wire.CheckResponse.FromString(await call(request.to_bytes(form), timeout=request.timeout))


async def _served(service: PolicyService[Any], clock: CaseClock) -> tuple[grpc.aio.Server, int]:
    async def check(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return await service.methods[CHECK_METHOD](data, clock.monotonic() + context.time_remaining())

    package, method = CHECK_METHOD[1:].split("/")
    handler = grpc.method_handlers_generic_handler(package, {method: grpc.unary_unary_rpc_method_handler(check)})
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


@asynccontextmanager
async def case_rig(
    policy: Sequence[tuple[str, str, str]] = (), *, is_issuer_away: bool = False, store: str = "memory:"
) -> AsyncIterator[CaseRig]:
    """Run one service with its issuer; ready when the keys are there, unless the issuer is away."""
    folder = Path(tempfile.mkdtemp(prefix="cases-"))
    keys = {key.alg: key for key in (Key(), Key("PS256", "ps"), Key("Ed25519", "ed"))}
    clock = CaseClock()
    async with IssuerServer(keys=[key.public() for key in keys.values()]) as issuer:
        issuer.status = 500 if is_issuer_away else 200
        case_set(folder / "policies", issuer.url, policy)
        log = str(folder / "decisions.jsonl")
        takes_events = any("events:" in text for _, _, text in policy)
        events = "127.0.0.1:0" if takes_events else ""
        (folder / "credentials").mkdir(mode=0o700)
        (folder / "credentials" / "main.secret").write_text("a secret of the gate")
        settings = ServiceSettings(
            policies=str(folder / "policies"),
            decision_log=log,
            store=store,
            events=events,
            client_credentials_dir=str(folder / "credentials"),
        )
        service = extauthz.server.build(settings, clock)
        await service.start()
        server, port = await _served(service, clock)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                if not is_issuer_away:
                    await until(lambda: service.readiness().is_ready)
                yield CaseRig(service, issuer, clock, channel, folder, keys["ES256"], port, keys)
        finally:
            issuer.gate.set()
            await server.stop(None)
            await service.stop()
            await asyncio.to_thread(shutil.rmtree, folder)
