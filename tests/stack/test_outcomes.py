"""What a quota has used after each end that a payment can have, through a real Envoy that tells the limiter of it."""

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
import pytest
import pytest_asyncio

from chassis.access_log import STREAM_METHOD
from helpers.bound_stack import BoundStack, another_envoy
from helpers.faulty_upstream import FaultyUpstream
from helpers.services import edit, payment
from helpers.valkey import administrator
from helpers.waiting import until
from policy.handoff import METADATA_NAMESPACE
from protos import envoy_wire_pb2 as wire
from tollhouse.probe import get_text
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

AMOUNT = 700
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
  - {id: at_once, owner: a, metric: in_flight, lease: 600s, operations: [create_payment], limit: 500}
"""
REFUSE_LATER = """\
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  later: {permissions: [{header: {name: x-refuse, present_match: true}}], principals: [{any: true}]}
"""
ROUTER = "          - name: envoy.filters.http.router\n"
HOSTS = re.compile(r"(cluster_name: payments_upstream\n      endpoints: )\[.*\]\n")


@dataclass(frozen=True)
class Told:
    """A running stack, one more Envoy in front of the same services, and the upstream behind that one."""

    stack: BoundStack
    upstream: FaultyUpstream
    port: int
    directory: Path

    def pay(self, reference: str, port: int, headers: dict[str, str]) -> int:
        """Send a payment; return the status, 0 where the connection broke."""
        token = self.stack.fetch_token("m_active", None)
        fields = {"content-type": "application/json", "authorization": f"Bearer {token}", **headers}
        body = payment(reference=reference, amount={"minor_units": AMOUNT, "currency": "EUR"})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/v1/payments", body=json.dumps(body), headers=fields)
            try:
                answer = connection.getresponse()
                answer.read()
            except (http.client.HTTPException, ConnectionError):
                return 0
            return answer.status

    async def status(self, reference: str, port: int = 0, **headers: str) -> int:
        return await asyncio.to_thread(self.pay, reference, port or self.port, headers)

    def counted(self, metric: str) -> float:
        text = get_text(self.stack.ports.ratelimit_admin, "/metrics") or ""
        found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def unsettled(self) -> float:
        """Return how many entries have found nothing to settle."""
        words = ("unmatched", "contradicted", "nothing_held", "unknown")
        return sum(self.counted(f'tollhouse_outcome_entries_total{{what="{word}"}}') for word in words)

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
        kinds, entries = (
            f'tollhouse_outcomes_total{{kind="{kind}"}}',
            f'tollhouse_outcome_entries_total{{what="{what}"}}',
        )
        before = self.counted(kinds), self.counted(entries)
        yield
        await until(lambda: self.counted(kinds) == before[0] + 1 and self.counted(entries) == before[1] + 1, 20)


def with_later_filter(chain: str) -> str:
    assert ROUTER in chain
    return chain.replace(ROUTER, REFUSE_LATER + ROUTER)


def without_hosts(chain: str) -> str:
    changed = HOSTS.sub(r"\1[]\n", chain)
    assert changed != chain
    return changed


@contextlib.asynccontextmanager
async def envoy_before(
    stack: BoundStack, path: Path, upstream_port: int, change: Callable[[str], str] = str
) -> AsyncIterator[int]:
    """Run one more Envoy over the services of a stack, with a changed reference chain; return its port."""
    free = choose_ports(None)
    ports = replace(stack.ports, envoy=free.envoy, envoy_admin=free.envoy_admin, upstream=upstream_port)
    path.write_text(change(on_ports(read_reference(), ports)), "utf-8")  # noqa: ASYNC240 - a small file, before anything runs
    async with another_envoy(path, ports.envoy_admin):
        yield ports.envoy


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[Told]:
    directory = tmp_path_factory.mktemp("outcomes")
    copy = directory / "policies"
    shutil.copytree(policies, copy)
    (copy / "quotas_test.yaml").unlink()
    edit(copy / "tollhouse.yaml", "  - quotas_test.yaml", "  #")
    (copy / "quotas.yaml").write_text(QUOTAS)
    stack = BoundStack(directory / "run", choose_ports(None), copy, None, is_tls=False)
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(stack.stop)
        await stack.start(lambda _: None)
        upstream = await closing.enter_async_context(FaultyUpstream())
        refusing = envoy_before(stack, directory / "e.yaml", upstream.port, with_later_filter)
        port = await closing.enter_async_context(refusing)
        yield Told(stack, upstream, port, directory)


@pytest.mark.parametrize(
    ("reference", "status", "kind"),
    [
        ("s200", 200, "spent"),
        ("s402", 402, "released"),
        ("s400", 400, "in_doubt"),
        ("s503", 503, "in_doubt"),
        ("s500", 500, "in_doubt"),
        ("close", 503, "in_doubt"),
        ("reset", 503, "in_doubt"),
        ("cut", 0, "in_doubt"),
        ("hang", 504, "in_doubt"),
    ],
)
async def test_payment_that_the_upstream_has_read(told: Told, reference: str, status: int, kind: str):
    amount, leases = await told.used()
    async with told.told(kind):
        assert await told.status(reference) == status
    assert told.upstream.taken[-1] == reference
    is_over = kind != "in_doubt"
    assert await told.used() == (amount + (0 if kind == "released" else AMOUNT), leases + (0 if is_over else 1))


async def test_payment_of_a_client_that_has_left_is_in_doubt(told: Told):
    before = await told.used()
    told.upstream.has_begun.clear()
    async with told.told("in_doubt"):
        paying = asyncio.create_task(abandoned(told))
        await told.upstream.has_begun.wait()
        paying.cancel()
    assert await told.used() == (before[0] + AMOUNT, before[1] + 1)


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


async def test_payment_that_another_filter_refuses_is_given_back(told: Told):
    before, taken = await told.used(), len(told.upstream.taken)
    async with told.told("released"):
        assert await told.status("s200", **{"x-refuse": "yes"}) == 403
    assert (await told.used(), len(told.upstream.taken)) == (before, taken)


async def test_payment_that_no_upstream_could_take_is_given_back(told: Told):
    before = await told.used()
    async with FaultyUpstream() as gone:
        closed = gone.port
    for change in (str, without_hosts):
        envoy = envoy_before(told.stack, told.directory / f"{change.__name__}.yaml", closed, change)
        async with envoy as port, told.told("released"):
            assert await told.status("s200", port) == 503
    assert await told.used() == before


async def test_refused_payments_tell_of_nothing_that_was_held(told: Told):
    before = await told.used()
    async with told.told("released", "unmatched"):
        # Over the limit: extauthz has let it through, ratelimit has not, and has written nothing.
        assert await asyncio.to_thread(pay_too_much, told) == 429
    assert await told.used() == before


def pay_too_much(told: Told) -> int:
    token = told.stack.fetch_token("m_active", None)
    body = payment(reference="s200", amount={"minor_units": 2_000_000, "currency": "EUR"})
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", told.port, timeout=30)) as connection:
        connection.request("POST", "/v1/payments", body=json.dumps(body), headers=headers)
        return connection.getresponse().status


async def test_forged_late_and_repeated_entries_change_nothing(told: Told):
    async with told.told("spent"):
        assert await told.status("s200") == 200
    decision = last_decision(told)
    before, entries = await told.used(), told.unsettled()
    for changes in (
        {},
        {"amount_minor": str(AMOUNT * 100)},
        {"merchant_id": "m_small"},
        {"operation": "refund_payment"},
        {"decision_id": "f" * 32},
    ):
        await send_entry(told, 402, {**SAID, "decision_id": decision, **changes})
    await until(lambda: told.unsettled() >= entries + 5, 10)
    assert await told.used() == before


SAID = {
    "handoff": "2",
    "verdict": "allow",
    "merchant_id": "m_active",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": str(AMOUNT),
}


def last_decision(told: Told) -> str:
    records = (told.stack.directory / "ratelimit-decisions.jsonl").read_text().splitlines()
    return [record for line in records if (record := json.loads(line))["http_status"] == 200][-1]["decision_id"]


async def send_entry(told: Told, status: int, said: dict[str, str]) -> None:
    """Tell the limiter of a payment as Envoy would."""
    message = wire.StreamAccessLogsMessage()
    entry = message.http_logs.log_entry.add()
    entry.response.response_code.value, entry.response.response_code_details = status, "via_upstream"
    fields = entry.common_properties.metadata.filter_metadata[METADATA_NAMESPACE].fields
    for name, value in said.items():
        fields[name].string_value = value
    async with grpc.aio.insecure_channel(f"127.0.0.1:{told.stack.ports.ratelimit}") as channel:
        await channel.stream_unary(STREAM_METHOD)(iter([message.SerializeToString()]), timeout=10)
