"""A stack whose Envoy tells the limiter what became of each payment, and what its quotas have used."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from chassis.access_log import STREAM_METHOD
from helpers.bound_stack import BoundStack, another_envoy
from helpers.faulty_upstream import FaultyUpstream
from helpers.services import edit, payment
from helpers.valkey import administrator
from helpers.waiting import until
from policy.handoff import METADATA_NAMESPACE
from protos import envoy_wire_pb2 as wire
from tollhouse.envoy_tls_file import with_service_tls
from tollhouse.probe import get_text
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports

AMOUNT = 700
SAID = {
    "handoff": "2",
    "verdict": "allow",
    "merchant_id": "m_active",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": str(AMOUNT),
}
"""What extauthz hands on about a payment of `Told.pay`, but for its decision id."""


@dataclass(frozen=True)
class Told:
    """A running stack, one more Envoy in front of the same services, and the upstream behind that one."""

    stack: BoundStack
    upstream: FaultyUpstream
    port: int
    admin_port: int
    directory: Path

    def pay(self, reference: str, port: int, headers: dict[str, str], changes: dict[str, object]) -> int:
        """Send a payment; return the status, 0 where the connection broke."""
        token = self.stack.fetch_token("m_active", None)
        fields = {"content-type": "application/json", "authorization": f"Bearer {token}", **headers}
        body = {**payment(reference=reference, amount={"minor_units": AMOUNT, "currency": "EUR"}), **changes}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/v1/payments", body=json.dumps(body), headers=fields)
            try:
                answer = connection.getresponse()
                answer.read()
            except (http.client.HTTPException, ConnectionError):
                return 0
            return answer.status

    async def status(self, reference: str, port: int = 0, **headers: str) -> int:
        return await asyncio.to_thread(self.pay, reference, port or self.port, headers, {})

    async def status_of(self, **changes: object) -> int:
        """Pay with another body."""
        return await asyncio.to_thread(self.pay, "s200", self.port, {}, changes)

    def counted(self, metric: str) -> float:
        text = get_text(self.stack.ports.ratelimit_admin, "/metrics") or ""
        found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def entries(self, word: str) -> float:
        """Return of how many entries this has become."""
        return self.counted(f'tollhouse_outcome_entries_total{{what="{word}"}}')

    def unsettled(self) -> float:
        """Return how many entries have found nothing to settle."""
        return sum(self.entries(word) for word in ("unmatched", "contradicted", "nothing_held", "unknown"))

    def written(self) -> int:
        """Return how many entries Envoy has written for the limiter."""
        text = get_text(self.admin_port, "/stats?filter=grpc_access_log.logs_written$") or ""
        return int(text.rpartition(":")[2] or 0)

    async def used(self) -> tuple[int, int]:
        """Return what both quotas have counted: the amount of the day, and requests in flight."""
        async with administrator(self.stack.store_url) as store:
            (key,) = await store.keys("tollhouse:1:{m_active}:authorized:*") or [""]
            leases = await store.keys("tollhouse:1:{m_active}:at_once:*")
            amount = int(await store.get(key) or 0) if key else 0
            return amount, await store.zcard(leases[0]) if leases else 0

    @contextlib.asynccontextmanager
    async def told(self, kind: str, what: str = "settled") -> AsyncIterator[None]:
        """Wait at the end until one more outcome of this kind was told, and became this."""
        kinds = f'tollhouse_outcomes_total{{kind="{kind}"}}'
        before = self.counted(kinds), self.entries(what)
        yield
        await until(lambda: self.counted(kinds) == before[0] + 1 and self.entries(what) == before[1] + 1, 20)

    async def decision_after(self, count: int) -> str:
        """Wait until the log has more payments let through than `count`; return the id of the last one."""
        await until(lambda: len(self.decisions()) > count, 20)
        return self.decisions()[-1]

    def decisions(self) -> list[str]:
        """Return the ids of the payments that the limiter has let through, as far as its log has them."""
        log = self.stack.directory / "ratelimit-decisions.jsonl"
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record["decision_id"] for record in records if record["http_status"] == 200]

    async def send_entry(self, status: int, said: dict[str, str]) -> None:
        """Tell the limiter of a payment as Envoy would."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.stack.ports.ratelimit}") as channel:
            await channel.stream_unary(STREAM_METHOD)(iter([log_message(status, said)]), timeout=10)


def log_message(status: int, said: dict[str, str]) -> bytes:
    """Return a message with one entry, of an answer of the upstream."""
    message = wire.StreamAccessLogsMessage()
    entry = message.http_logs.log_entry.add()
    entry.response.response_code.value, entry.response.response_code_details = status, "via_upstream"
    fields = entry.common_properties.metadata.filter_metadata[METADATA_NAMESPACE].fields
    for name, value in said.items():
        fields[name].string_value = value
    return message.SerializeToString()


@contextlib.asynccontextmanager
async def envoy_before(
    stack: BoundStack, path: Path, upstream_port: int, change: Callable[[str], str] = str
) -> AsyncIterator[tuple[int, int]]:
    """Run one more Envoy over the services of a stack, with a changed reference chain; return its two ports."""
    free = choose_ports(None)
    ports = replace(stack.ports, envoy=free.envoy, envoy_admin=free.envoy_admin, upstream=upstream_port)
    chain = change(on_ports(read_reference(), ports))
    if stack.tls is not None:
        chain = with_service_tls(chain, str(stack.tls.secrets))
    path.write_text(chain, "utf-8")  # noqa: ASYNC240 - a small file, before anything runs
    async with another_envoy(path, ports.envoy_admin):
        yield ports.envoy, ports.envoy_admin


def with_quotas(policies: Path, directory: Path, quotas: str) -> Path:
    """Copy the shipped policy set, with other quotas."""
    copy = directory / "policies"
    shutil.copytree(policies, copy)
    (copy / "quotas_test.yaml").unlink()
    edit(copy / "tollhouse.yaml", "  - quotas_test.yaml", "  #")
    (copy / "quotas.yaml").write_text(quotas)
    return copy


@contextlib.asynccontextmanager
async def running(stack: BoundStack, directory: Path, change: Callable[[str], str] = str) -> AsyncIterator[Told]:
    """Run a stack, a faulty upstream, and an Envoy with a changed chain before it."""
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(stack.stop)
        await stack.start(lambda _: None)
        upstream = await closing.enter_async_context(FaultyUpstream())
        before = envoy_before(stack, directory / "e.yaml", upstream.port, change)
        port, admin_port = await closing.enter_async_context(before)
        yield Told(stack, upstream, port, admin_port, directory)


async def abandoned(told: Told) -> None:
    """Send a payment that hangs, and close the connection when cancelled."""
    token = await asyncio.to_thread(told.stack.fetch_token, "m_active", None)
    body = json.dumps(payment(reference="hang", amount={"minor_units": AMOUNT, "currency": "EUR"}))
    head = f"POST /v1/payments HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", told.port)
    try:
        writer.write((head + body).encode())
        await asyncio.Event().wait()
    finally:
        writer.close()
