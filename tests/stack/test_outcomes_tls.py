"""Who may tell outcomes over mutual TLS: an Envoy that is on the list for it, and no other caller of the limiter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from chassis.access_log import STREAM_METHOD
from helpers.bound_stack import BoundStack
from helpers.certificates import Caller
from helpers.told import AMOUNT, SAID, Told, log_message, running, with_quotas
from tollhouse.dev_secrets import ENVOY_IDENTITY
from tollhouse.development_authority import KeyPair
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUOTAS = """\
quotas:
  - id: authorized
    owner: a
    metric: amount
    interval: daily
    operations: [create_payment]
    currency: EUR
    limit: 1000000
    counts: authorized
"""
ANOTHER = "spiffe://tollhouse.example/another"


class ListedStack(BoundStack):
    """The stack with mutual TLS, and a list of who may tell outcomes."""

    def __init__(self, directory: Path, policies: Path, teller: str, transport: str) -> None:
        super().__init__(directory, choose_ports(None), policies, transport, is_tls=True)
        self._teller = teller

    def _serve(self, name: str, port: int, admin_port: int) -> tuple[str, ...]:
        command = super()._serve(name, port, admin_port)
        return (*command, "--outcome-peer-san", self._teller) if name == "ratelimit" else command


@asynccontextmanager
async def listed(directory: Path, policies: Path, teller: str, transport: str) -> AsyncIterator[Told]:
    copy = with_quotas(policies, directory, QUOTAS)
    async with running(ListedStack(directory / "run", copy, teller, transport), directory) as told:
        yield told


def as_envoy(told: Told) -> grpc.aio.Channel:
    """Return a channel to the limiter with Envoy's own certificate."""
    assert told.stack.tls is not None
    files = told.stack.tls.certificates
    pair = KeyPair(private_key=(files / "envoy.key").read_bytes(), certificate=(files / "envoy.pem").read_bytes())
    caller = Caller((files / "ca.pem").read_bytes(), pair)
    return caller.channel(f"127.0.0.1:{told.stack.ports.ratelimit}", "ratelimit")


@pytest.mark.parametrize("transport", ["envoy", "grpcio"])
async def test_listed_envoy_gives_a_declined_payment_back(tmp_path: Path, policies: Path, transport: str):
    async with listed(tmp_path, policies, ENVOY_IDENTITY, transport) as told:
        async with told.told("spent"):
            assert await told.status("s200") == 200
        async with told.told("released"):
            assert await told.status("s402") == 402
        assert (await told.used())[0] == AMOUNT


@pytest.mark.parametrize("transport", ["envoy", "grpcio"])
async def test_envoy_that_is_listed_for_checks_alone_gives_nothing_back(tmp_path: Path, policies: Path, transport: str):
    async with listed(tmp_path, policies, ANOTHER, transport) as told:
        assert await told.status("s402") == 402  # its checks are answered
        decision = await told.decision_after(0)
        async with as_envoy(told) as channel:
            call = channel.stream_unary(STREAM_METHOD)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(iter([log_message(402, {**SAID, "decision_id": decision})]), timeout=10)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert (await told.used())[0] == AMOUNT
        assert told.entries("settled") == told.unsettled() == 0
