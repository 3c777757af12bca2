"""Bound tokens through a real Envoy: proofs and client certificates as Envoy itself forwards them."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chassis.clock import SystemClock
from helpers.bound_stack import Bound, BoundStack, another_envoy, bound_stack
from helpers.certificates import authority, client_pair
from helpers.dpop import DpopClient
from helpers.issuer import b64
from helpers.services import edit, payment
from helpers.valkey import administrator
from helpers.waiting import until
from tollhouse.development_authority import KeyPair
from tollhouse.envoy_tls_file import SECRETS_DIRECTORY, tls_reference
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

MERCHANTS = authority("merchants")
GATE_CERTIFICATE = "            - name: gate\n"
CLIENT_CERTIFICATES = """\
            validation_context:
              trusted_ca: {{filename: {ca}}}
"""


@dataclass(frozen=True)
class Chain:
    """A running stack, and one more Envoy with TLS that takes client certificates."""

    bound: Bound
    tls_port: int
    trusted: Path
    directory: Path

    @property
    def stack(self) -> BoundStack:
        return self.bound.stack

    def token(self, **cnf: str) -> str:
        return self.bound.token(**cnf)

    def pay(self, headers: dict[str, str]) -> tuple[int, dict[str, str], dict[str, str]]:
        """Send a payment to the plain listener."""
        return _send(http.client.HTTPConnection("127.0.0.1", self.stack.ports.envoy, timeout=15), headers)

    def pay_by_tls(self, headers: dict[str, str], pair: KeyPair | None) -> tuple[int, dict[str, str], dict[str, str]]:
        """Send a payment to the TLS listener, with a client certificate or none."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        if pair is not None:
            (self.directory / "client.pem").write_bytes(pair.certificate + pair.private_key)
            context.load_cert_chain(self.directory / "client.pem")
        return _send(http.client.HTTPSConnection("localhost", self.tls_port, timeout=15, context=context), headers)


def _send(
    connection: http.client.HTTPConnection, headers: dict[str, str]
) -> tuple[int, dict[str, str], dict[str, str]]:
    with contextlib.closing(connection):
        body = json.dumps(payment())
        connection.request("POST", "/v1/payments", body=body, headers={"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(answer.read())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[Chain]:
    directory = tmp_path_factory.mktemp("bound")
    async with contextlib.AsyncExitStack() as closing:
        bound = await closing.enter_async_context(bound_stack(directory, policies, is_tls=True))
        tls = bound.stack.tls
        assert tls is not None
        free = choose_ports(None)
        ports = replace(bound.stack.ports, envoy=free.envoy, envoy_admin=free.envoy_admin)
        ca = directory / "merchants-ca.pem"
        ca.write_bytes(MERCHANTS.certificate)
        configuration = directory / "envoy.yaml"
        text = on_ports(tls_reference(read_reference()).replace(SECRETS_DIRECTORY, str(tls.secrets)), ports)
        configuration.write_text(text, "utf-8")
        certificates = "            tls_certificate_sds_secret_configs:\n" + GATE_CERTIFICATE
        edit(configuration, certificates, CLIENT_CERTIFICATES.format(ca=ca) + certificates)
        await closing.enter_async_context(another_envoy(configuration, ports.envoy_admin))
        running = Chain(bound, ports.envoy, tls.certificates / "ca.pem", directory)
        await until(lambda: running.pay_by_tls({}, None)[0] == 401, 20)
        yield running


async def test_proof_passes_one_request_through_envoy(chain: Chain):
    client = DpopClient(address=f"http://127.0.0.1:{chain.stack.ports.envoy}/v1/payments")
    token = chain.token(jkt=client.jkt)
    proof = {"authorization": f"DPoP {token}", "dpop": client.proof(token, SystemClock().wall())}

    status, _, _ = await asyncio.to_thread(chain.pay, proof)
    assert status == 200
    status, headers, problem = await asyncio.to_thread(chain.pay, proof)
    assert (status, problem["reason"]) == (401, "dpop_proof_invalid")
    assert 'error="invalid_dpop_proof"' in headers["www-authenticate"].partition(", DPoP ")[2]
    bearer = {"authorization": f"Bearer {token}"}
    status, _, problem = await asyncio.to_thread(chain.pay, bearer)
    assert (status, problem["reason"]) == (401, "token_binding")

    # Envoy said which request it was, so its own second question about it would have been no replay.
    async with administrator(chain.stack.store_url) as store:
        marks = await store.keys("tollhouse:dpop:*")
        assert marks
        assert all([len(await store.get(mark)) == 64 for mark in marks])


async def test_two_proof_headers_are_refused_as_envoy_hands_them_over(chain: Chain):
    client = DpopClient(address=f"http://127.0.0.1:{chain.stack.ports.envoy}/v1/payments")
    token = chain.token(jkt=client.jkt)

    def pay_with_two() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", chain.stack.ports.envoy, timeout=15)
        with contextlib.closing(connection):
            body = json.dumps(payment()).encode()
            connection.putrequest("POST", "/v1/payments")
            for name, value in (
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("authorization", f"DPoP {token}"),
                ("dpop", client.proof(token, SystemClock().wall())),
                ("dpop", client.proof(token, SystemClock().wall())),
            ):
                connection.putheader(name, value)
            connection.endheaders(body)
            return connection.getresponse().status

    assert await asyncio.to_thread(pay_with_two) == 401


async def test_certificate_of_the_connection_is_what_envoy_saw(chain: Chain):
    ours, theirs = (client_pair(MERCHANTS, f"spiffe://shop.example/{name}") for name in ("one", "two"))
    leaf = x509.load_pem_x509_certificates(ours.certificate)[0].public_bytes(Encoding.DER)
    digest = hashlib.sha256(leaf)
    bound = {"authorization": f"Bearer {chain.token(**{'x5t#S256': b64(digest.digest())})}"}

    status, _, _ = await asyncio.to_thread(chain.pay_by_tls, bound, ours)
    assert status == 200
    forged = {**bound, "x-forwarded-client-cert": f"Hash={digest.hexdigest()}"}
    for headers, pair in ((bound, theirs), (bound, None), (forged, theirs), (forged, None)):
        status, _, problem = await asyncio.to_thread(chain.pay_by_tls, headers, pair)
        assert (status, problem["reason"]) == (401, "token_binding")
    status, _, problem = await asyncio.to_thread(chain.pay, forged)
    assert (status, problem["reason"]) == (401, "token_binding")


async def test_store_that_is_away_refuses_proofs_and_nothing_else_is_needed_for_certificates(chain: Chain):
    client = DpopClient(address=f"http://127.0.0.1:{chain.stack.ports.envoy}/v1/payments")
    token = chain.token(jkt=client.jkt)

    async def pay() -> tuple[int, str]:
        proof = {"authorization": f"DPoP {token}", "dpop": client.proof(token, SystemClock().wall())}
        status, headers, problem = await asyncio.to_thread(chain.pay, proof)
        return status, headers.get("retry-after", "") and problem["reason"]

    await chain.stack.take_away("store")
    try:
        assert await pay() == (503, "replay_store_unavailable")
    finally:
        await chain.stack.bring_back("store")
        async with asyncio.timeout(20):
            while (await pay())[0] != 200:  # noqa: ASYNC110 - the services reconnect by themselves
                await asyncio.sleep(0.1)
