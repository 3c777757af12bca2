"""The whole stack with an issuer of bound tokens beside the development issuer, and a store for extauthz."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.clock import SystemClock
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, edit
from tollhouse.probe import get_text, wait_until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.ports import choose_ports
from tollhouse.up.stack import Stack, envoy_command

KEY = SigningKey("ES256", "k1")
PROVIDER = """\
  - id: bound
    issuer: {issuer}
    allow_http: true
    audiences: [https://payments.tollhouse.test]
    algorithms: [ES256]
    dpop: {{}}
"""


class BoundStack(Stack):
    """The stack whose extauthz has the store as well."""

    def _serve(self, name: str, port: int, admin_port: int) -> tuple[str, ...]:
        command = super()._serve(name, port, admin_port)
        return (*command, "--store", self._store.url) if name == "extauthz" else command

    @property
    def store_url(self) -> str:
        return self._store.url


@dataclass(frozen=True)
class Bound:
    """A running stack and the issuer of bound tokens."""

    stack: BoundStack
    issuer: IssuerServer

    def token(self, **cnf: str) -> str:
        """Return a token of merchant m_active that is bound to what `cnf` says."""
        claims = {"aud": AUDIENCE, "merchant_id": "m_active", "cnf": cnf or None}
        return mint(KEY, good_claims(self.issuer.issuer, SystemClock().wall(), **claims))


@asynccontextmanager
async def bound_stack(directory: Path, policies: Path, *, is_tls: bool) -> AsyncIterator[Bound]:
    """Run the stack over a copy of the policy set that knows the issuer of bound tokens."""
    copy = directory / "policies"
    shutil.copytree(policies, copy)
    async with AsyncExitStack() as closing:
        issuer = await closing.enter_async_context(IssuerServer(keys=[KEY]))
        edit(copy / "providers.yaml", "providers:\n", "providers:\n" + PROVIDER.format(issuer=issuer.issuer))
        stack = BoundStack(directory / "run", choose_ports(None), copy, "grpcio", is_tls=is_tls)
        closing.push_async_callback(stack.stop)
        await stack.start(lambda _: None)
        yield Bound(stack, issuer)


@asynccontextmanager
async def another_envoy(configuration: Path, admin_port: int) -> AsyncIterator[None]:
    """Run one more Envoy until the block ends; ready when it starts."""
    log = configuration.with_suffix(".log")
    spec = ChildSpec("envoy", envoy_command(configuration), log, configuration.with_suffix(".jsonl"))
    envoy = Child(spec, lambda _: None)
    await envoy.start()
    try:
        assert await wait_until(lambda: get_text(admin_port, "/ready") is not None, 20), envoy.last_lines()
        yield
    finally:
        await envoy.stop()
