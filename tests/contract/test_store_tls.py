"""Real TLS and an ACL user between the limiter and its store: one server, and a cluster."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import ratelimit.server
from chassis.clock import SystemClock
from chassis.store_link import StoreSettings
from chassis.store_url import StoreLogin
from extauthz.tokens.revocations import Place, Revocation
from extauthz.tokens.store_replays import StoreReplays
from extauthz.tokens.store_revocations import StoreRevocations
from helpers.certificates import authority, client_pair, server_pair
from helpers.life_fleet import free_ports
from helpers.services import copy_policies, should_rate_limit
from helpers.store_fleets import LOOPBACK, Cluster, Server, started
from helpers.waiting import until_told
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire
from tollhouse.configuration_page import GATE_STORE_RULES, STORE_RULES

REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(REDIS is None, reason="the packaged server speaks no TLS, and no redis-server is here")

PASSWORD = "p4ss-of-the-limiter"
USER = (
    *("--user", "limiter", "on", f">{PASSWORD}", *STORE_RULES.split()),
    *("--user", "gate", "on", f">{PASSWORD}", *GATE_STORE_RULES.split()),
)
"""What docs/configuration.md says that each service needs, and not one command more."""
PAYMENT = {
    "handoff": "2",
    "merchant_id": "m_active",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": "5",
    "card_key": "none",
    **dict.fromkeys(("sub_merchant", "payer", "device", "ip", "idempotency"), "none"),
    "decision_id": "d" * 32,
    "policy_revision": "a" * 16,
}


class Certificates:
    """The store's certificate, and who vouches for it."""

    def __init__(self, directory: Path) -> None:
        ours = authority()
        pair = server_pair(ours)
        self.ca, self.certificate, self.key = (directory / name for name in ("ca.pem", "store.pem", "store.key"))
        self.ca.write_bytes(ours.certificate)
        self.certificate.write_bytes(pair.certificate)
        self.key.write_bytes(pair.private_key)
        # Nodes of a cluster call each other, as clients.
        caller = client_pair(ours, "node.example")
        self.caller, self.caller_key = directory / "node.pem", directory / "node.key"
        self.caller.write_bytes(caller.certificate)
        self.caller_key.write_bytes(caller.private_key)

    def options(self, port: int) -> tuple[str, ...]:
        files = ("--tls-cert-file", self.certificate, "--tls-key-file", self.key, "--tls-ca-cert-file", self.ca)
        own = ("--tls-client-cert-file", self.caller, "--tls-client-key-file", self.caller_key)
        return ("--tls-port", str(port), *map(str, (*files, *own)), "--tls-auth-clients", "no")


class TlsCluster(Cluster):
    """Primaries that talk TLS to callers and to each other; the test meddles with them over plain ports."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        ports = free_ports(9)
        self.ports = ports[2::3]
        self.nodes = [
            Server(
                directory,
                plain,
                *("--cluster-enabled", "yes", "--cluster-port", str(bus), "--tls-cluster", "yes"),
                *(*certificates.options(tls), *USER),
                program=REDIS,
            )
            for plain, bus, tls in zip(ports[::3], ports[1::3], self.ports, strict=True)
        ]
        self._buses = ports[1::3]

    @property
    def url(self) -> str:
        return f"rediss+cluster://{','.join(f'{LOOPBACK}:{port}' for port in self.ports)}"


@contextlib.asynccontextmanager
async def limiter(tmp_path: Path, store: str, password: str = PASSWORD) -> AsyncIterator[object]:
    file = tmp_path / "store.password"
    file.touch(mode=0o600)
    file.write_text(password)
    settings = ServiceSettings(
        policies=str(copy_policies(tmp_path / "policies")),
        store=store,
        store_username="limiter",
        store_password_file=str(file),
        decision_log=str(tmp_path / "limits.jsonl"),
    )
    service = ratelimit.server.build(settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def is_counted(service) -> bool:
    return (await should_rate_limit(service, PAYMENT)).overall_code == wire.RateLimitResponse.OK


@pytest.fixture
async def tls_store(tmp_path: Path) -> AsyncIterator[tuple[str, Certificates]]:
    certificates = Certificates(tmp_path)
    plain, tls = free_ports(2)
    async with started(Server(tmp_path, plain, *certificates.options(tls), *USER, program=REDIS)):
        yield f"rediss://localhost:{tls}/0", certificates


async def test_payment_is_counted_over_tls_as_a_user_of_its_own(tmp_path, tls_store):
    url, certificates = tls_store
    async with limiter(tmp_path, f"{url}?ssl_ca_certs={certificates.ca}") as service:
        await until_told(lambda: is_counted(service))
        assert "the counter store is not connected" not in service.readiness().warnings


async def test_gate_keeps_proofs_and_revocations_as_a_user_of_its_own(tmp_path, tls_store):
    url, certificates = tls_store
    file = tmp_path / "gate.password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    clock, settings = SystemClock(), StoreSettings(login=StoreLogin(str(file), "gate"))
    where = f"{url}?ssl_ca_certs={certificates.ca}"
    replays = StoreReplays.from_url(where, clock, settings)
    revocations = StoreRevocations.from_url(where, clock, settings)
    now = clock.wall()
    entries = [Revocation(kind, "https://i", "x", 0.0, now + 600.0) for kind in ("jti", "sid", "sub")]
    await replays.start()
    await revocations.start()
    try:
        await until_told(lambda: _told(replays.is_available))
        deadline = clock.monotonic() + 10.0
        assert [await replays.use("m", request, 60.0, deadline) for request in ("a", "b")] == [True, False]
        await revocations.revoke(entries, deadline)
        await revocations.revoke(entries, deadline)
        taken = [await revocations.accept(entries[:1], "https://i", "event", deadline) for _ in range(2)]
        assert taken == [True, False]
        page = await revocations.read(Place(), deadline)
        assert {entry.kind for entry in page.entries} == {"jti", "sid", "sub"}
        await revocations.read(page.place, deadline)
    finally:
        await replays.stop()
        await revocations.stop()


async def _told(is_so: bool) -> bool:
    return is_so


async def test_store_that_nobody_vouches_for_is_no_store(tmp_path, tls_store):
    url, _ = tls_store
    async with limiter(tmp_path, url) as service:
        assert not await is_counted(service)
        assert "the counter store is not connected" in service.readiness().warnings


async def test_wrong_password_of_the_user_is_no_store(tmp_path, tls_store, caplog):
    url, certificates = tls_store
    async with limiter(tmp_path, f"{url}?ssl_ca_certs={certificates.ca}", "another") as service:
        assert not await is_counted(service)
    assert PASSWORD not in caplog.text
    assert "another" not in caplog.text


async def test_cluster_over_tls_counts_as_a_user_of_its_own(tmp_path):
    certificates = Certificates(tmp_path)
    cluster = TlsCluster(tmp_path, certificates)
    async with started(*cluster.nodes):
        await cluster.join()
        async with limiter(tmp_path, f"{cluster.url}?ssl_ca_certs={certificates.ca}") as service:
            await until_told(lambda: is_counted(service))
