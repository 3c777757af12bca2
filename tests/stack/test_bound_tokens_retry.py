"""A check that Envoy asks a second replica about is no second use of its proof."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chassis.clock import SystemClock
from helpers.bound_stack import Bound, another_envoy, bound_stack
from helpers.dpop import DpopClient
from helpers.services import edit, payment
from helpers.waiting import until
from tollhouse.probe import get_text
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports

PAYMENTS = 12


@dataclass
class LosingRelay:
    """Stands before a replica and loses the answers to calls that carry `mark`; health checks pass.

    Attributes:
        upstream: Port of the replica.
        mark: Bytes by which a call is known.
        port: Where it listens.
        lost: Calls that the replica answered and nobody heard of.
    """

    upstream: int
    mark: bytes
    port: int = 0
    lost: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            seen = asyncio.Event()
            up = asyncio.create_task(self._pass_on(reader, to_writer, seen))
            down = asyncio.create_task(self._answer(to_reader, writer, seen))
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            to_writer.close()
        writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self.mark in data:
                seen.set()
            writer.write(data)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if seen.is_set() and b"verdict" in data:
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def losing_relay(upstream: int, mark: bytes) -> AsyncIterator[LosingRelay]:
    relay = LosingRelay(upstream, mark)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()


def pay(port: int, bound: Bound, client: DpopClient) -> tuple[int, str]:
    token = bound.token(jkt=client.jkt)
    headers = {"content-type": "application/json", "authorization": f"DPoP {token}"}
    headers["dpop"] = client.proof(token, SystemClock().wall())
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        connection.request("POST", "/v1/payments", body=json.dumps(payment()), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("reason", "")


async def test_payment_whose_first_answer_was_lost_passes_at_the_other_replica(tmp_path: Path, policies: Path):
    async with bound_stack(tmp_path, policies, is_tls=False) as bound:
        ports = bound.stack.ports
        async with losing_relay(ports.extauthz, b"/v1/payments") as relay:
            free = choose_ports(None)
            mine = replace(ports, envoy=free.envoy, envoy_admin=free.envoy_admin)
            configuration = tmp_path / "retry.yaml"
            configuration.write_text(on_ports(read_reference(), mine), "utf-8")
            endpoint = "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}"
            one = endpoint % ports.extauthz
            edit(configuration, f"[{one}]", f"[{one}, {endpoint % relay.port}]")
            async with another_envoy(configuration, mine.envoy_admin):
                await until(
                    lambda: (get_text(mine.envoy_admin, "/clusters") or "").count("health_flags::healthy") >= 4, 20
                )
                client = DpopClient(address=f"http://127.0.0.1:{mine.envoy}/v1/payments")
                answers = [await asyncio.to_thread(pay, mine.envoy, bound, client) for _ in range(PAYMENTS)]
            assert answers == [(200, "")] * PAYMENTS
            assert relay.lost >= 1
