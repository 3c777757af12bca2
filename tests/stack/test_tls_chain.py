"""Payments over TLS: from the caller to Envoy, and from Envoy to both services and back."""

import asyncio
import contextlib
import datetime as dt
import http.client
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from helpers.waiting import until
from tollhouse.dev_secrets import Readers, write_dev_secrets
from tollhouse.envoy_tls_file import SECRETS_DIRECTORY, tls_reference
from tollhouse.probe import get_text, wait_until
from tollhouse.scenarios import SCENARIOS
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import Ports, choose_ports
from tollhouse.up.stack import Stack, envoy_command

pytestmark = pytest.mark.asyncio(loop_scope="session")

_PAUSE_SECONDS = 0.25
APPROVED = next(scenario.call for scenario in SCENARIOS if scenario.title == "an approved payment")


@dataclass(frozen=True)
class Gate:
    """An Envoy of its own with TLS on every side, in front of the stack's services."""

    stack: Stack
    ports: Ports
    trusted: Path

    def pay(self) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(self.trusted))
        connection = http.client.HTTPSConnection("localhost", self.ports.envoy, timeout=15, context=context)
        token = self.stack.fetch_token(APPROVED.oauth_client or "", APPROVED.scope)
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        try:
            connection.request("POST", APPROVED.path, body=APPROVED.body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stats(self, name: str) -> int:
        text = get_text(self.ports.envoy_admin, f"/stats?filter=^{name}$") or ""
        return int(text.rpartition(":")[2] or 0)


GateMaker = Callable[[Callable[[str], str]], Awaitable[Gate]]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["envoy", "grpcio"])
async def tls_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, policies: Path
) -> AsyncIterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("tls") / "run", choose_ports(None), policies, request.param, is_tls=True)
    try:
        await running.start(lambda _: None)
        yield running
    finally:
        await running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def make_gate(tls_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateMaker]:
    assert tls_stack.tls is not None
    tls = tls_stack.tls
    async with AsyncExitStack() as closing:

        async def make(change: Callable[[str], str]) -> Gate:
            directory = tmp_path_factory.mktemp("gate")
            free = choose_ports(None)
            ports = replace(tls_stack.ports, envoy=free.envoy, envoy_admin=free.envoy_admin)
            configuration = directory / "envoy.yaml"
            text = tls_reference(read_reference()).replace(SECRETS_DIRECTORY, str(tls.secrets))
            configuration.write_text(change(on_ports(text, ports)), "utf-8")
            log = directory / "access.jsonl"
            envoy = Child(
                ChildSpec("envoy", envoy_command(configuration), directory / "envoy.log", log), lambda _: None
            )
            await envoy.start()
            closing.push_async_callback(envoy.stop)
            assert await wait_until(lambda: get_text(ports.envoy_admin, "/ready") is not None, 20), envoy.last_lines()
            return Gate(tls_stack, ports, tls.certificates / "ca.pem")

        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gate(make_gate: GateMaker) -> Gate:
    gate = await make_gate(lambda text: text)
    await until(lambda: is_healthy(gate.ports), 20)
    return gate


def is_healthy(ports: Ports) -> bool:
    clusters = get_text(ports.envoy_admin, "/clusters") or ""
    flags = re.findall(r"^(?:extauthz|ratelimit)::\S+::health_flags::(\S+)", clusters, re.MULTILINE)
    return flags == ["healthy", "healthy"]


async def test_payment_passes_over_tls_on_every_side(gate: Gate):
    status, _ = await asyncio.to_thread(gate.pay)

    assert status == 200
    for service in ("extauthz", "ratelimit"):
        assert gate.stats(f"cluster.{service}.ssl.handshake") >= 1


@pytest.mark.parametrize("service", ["extauthz", "ratelimit"])
async def test_service_with_another_name_gives_no_verdict(make_gate: GateMaker, service: str):
    other = await make_gate(
        lambda text: text.replace(f"matcher: {{exact: {service}}}", "matcher: {exact: other.example}")
    )

    status, body = await asyncio.to_thread(other.pay)

    assert status == 503
    assert b"gateway_authorization_unavailable" in body or b"gateway_quota_unavailable" in body
    assert other.stats(f"cluster.{service}.ssl.fail_verify_san") >= 1
    assert other.stats("cluster.payments_upstream.upstream_rq_total") == 0


async def test_envoy_with_another_name_gets_no_verdict(make_gate: GateMaker, tls_stack: Stack, tmp_path: Path):
    assert tls_stack.tls is not None
    secrets = tls_stack.tls.secrets

    def as_the_gate(text: str) -> str:
        # A certificate of the right authority with a name that nobody was told to let in.
        stranger = tmp_path / "service_client.yaml"
        own = (secrets / "service_client.yaml").read_text("utf-8")
        stranger.write_text(own.replace("/envoy.", "/gate."), "utf-8")
        return text.replace(str(secrets / "service_client.yaml"), str(stranger))

    other = await make_gate(as_the_gate)

    status, _ = await asyncio.to_thread(other.pay)

    assert status == 503
    assert other.stats("cluster.payments_upstream.upstream_rq_total") == 0


async def test_plain_text_to_the_listener_is_no_answer(gate: Gate):
    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gate.ports.envoy, timeout=15)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        finally:
            connection.close()

    with pytest.raises((OSError, http.client.HTTPException)):
        await asyncio.to_thread(ask)


@pytest.mark.parametrize("name", ["envoy", "gate"])
async def test_half_a_new_pair_is_not_taken_by_envoy(gate: Gate, make_gate: GateMaker, tls_stack: Stack, name: str):
    assert tls_stack.tls is not None
    fresh = await make_gate(lambda text: text)
    key = tls_stack.tls.certificates / f"{name}.key"
    own, draft = key.read_bytes(), key.with_suffix(".draft")
    draft.write_bytes((tls_stack.tls.certificates / "extauthz.key").read_bytes())
    try:
        draft.replace(key)
        await until(lambda: refused_pairs(fresh) > 0, 10)
        assert (await asyncio.to_thread(fresh.pay))[0] == 200
        assert (await asyncio.to_thread(gate.pay))[0] == 200
    finally:
        draft.write_bytes(own)
        draft.replace(key)


def refused_pairs(gate: Gate) -> int:
    text = get_text(gate.ports.envoy_admin, "/stats?filter=^sds..*.key_rotation_failed$") or ""
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines())


def shown_on(port: int) -> str:
    try:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return ""


def reloads(stack: Stack) -> list[int]:
    pages = (get_text(port, "/metrics") or "" for port in (stack.ports.extauthz_admin, stack.ports.ratelimit_admin))
    return [int(float(re.findall(r"^tollhouse_tls_reloads_total (\S+)$", page, re.MULTILINE)[0])) for page in pages]


async def test_every_certificate_changes_under_payments_and_none_fails(
    gate: Gate, make_gate: GateMaker, tls_stack: Stack, tmp_path: Path
):
    """The rotation of docs/tls.md: first both authorities, then the certificates, then the new authority alone."""
    assert tls_stack.tls is not None
    live, new, ports = tls_stack.tls.certificates, tmp_path / "new", gate.ports
    write_dev_secrets(new, Readers(), is_forced=False, now=dt.datetime.now(dt.UTC))
    new_authority = (new / "ca.pem").read_bytes()
    both = (live / "ca.pem").read_bytes() + new_authority
    (tmp_path / "both.pem").write_bytes(both)

    def put(name: str, content: bytes) -> None:
        draft = live / f".{name}"
        draft.write_bytes(content)
        draft.replace(live / name)

    async def trust(authorities: bytes) -> None:
        before = reloads(tls_stack)
        put("ca.pem", authorities)
        await until(lambda: all(now > then for now, then in zip(reloads(tls_stack), before, strict=True)), 20)

    async with paying(replace(gate, trusted=tmp_path / "both.pem")) as answers:
        await trust(both)
        for part in ("extauthz", "ratelimit", "envoy", "gate"):
            for end in ("key", "pem"):
                put(f"{part}.{end}", (new / f"{part}.{end}").read_bytes())
        for part, port in (("extauthz", ports.extauthz), ("ratelimit", ports.ratelimit), ("gate", ports.envoy)):
            wanted = (new / f"{part}.pem").read_text()
            await until(lambda port=port, wanted=wanted: shown_on(port) == wanted, 20)
        await trust(new_authority)
        fresh = await make_gate(lambda text: text)
        await until(lambda: is_healthy(fresh.ports), 20)

    assert not [answer for answer in answers if answer[0] != 200]
    assert len(answers) > 5
    assert (await asyncio.to_thread(fresh.pay))[0] == 200


@asynccontextmanager
async def paying(gate: Gate) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Pay, each time on a new connection and slower than the merchant's limit, until the block ends."""
    answers: list[tuple[int, bytes]] = []
    stop = asyncio.Event()

    async def pay_on() -> None:
        while not stop.is_set():
            answers.append(await asyncio.to_thread(gate.pay))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PAUSE_SECONDS)

    payer = asyncio.create_task(pay_on())
    try:
        yield answers
    finally:
        stop.set()
        await payer
