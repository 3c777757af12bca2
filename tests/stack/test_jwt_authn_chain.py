"""Payments through the chain in which Envoy verifies tokens: the shipped file, a real Envoy, both services."""

import asyncio
import base64
import contextlib
import http.client
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from helpers.bound_stack import BoundStack, another_envoy
from helpers.dpop import DpopClient
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, DEVELOPMENT_ISSUER, payment
from helpers.vouched import vouched_policies
from helpers.waiting import until
from policy.envoy_file import read_envoy_file
from policy.loader import load_policy_set
from policy.resource import METADATA_PATH
from tollhouse.envoy_check import check_envoy
from tollhouse.envoy_jwt_authn_file import PAYLOAD_KEY
from tollhouse.probe import get_text
from tollhouse.up.envoy_config import REFERENCE, exchange_ports, on_ports
from tollhouse.up.ports import DEFAULTS, choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHIPPED = REFERENCE.with_name("tollhouse-jwt-authn.yaml")
KEY = SigningKey("ES256", "k1")
CLOSED_PORT = 1
FILTER = "          - name: envoy.filters.http.jwt_authn\n"
NAMESPACES = "              metadata_context_namespaces: [envoy.filters.http.jwt_authn]\n"
REQUIRED = "requires: {provider_name: development}"
Answer = tuple[int, str]


@dataclass(frozen=True)
class VouchedChain:
    """A running stack whose extauthz verifies no signature, and an Envoy on the shipped file before it."""

    stack: BoundStack
    issuer: str
    port: int
    admin_port: int

    def token(self, key: SigningKey = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
        good = {"aud": AUDIENCE, "merchant_id": "m_active"}
        return mint(key, good_claims(self.issuer, SystemClock().wall(), **{**good, **claims}), **(header or {}))

    def pay(self, headers: dict[str, str], port: int = 0, path: str = "/v1/payments") -> Answer:
        """Send a payment; return status and reason."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=15)) as sending:
            body = json.dumps(payment())
            sending.request("POST", path, body=body, headers={"content-type": "application/json", **headers})
            answer = sending.getresponse()
            said = json.loads(answer.read())
            assert answer.status != 401 or answer.getheader("www-authenticate")
            return answer.status, said.get("reason", "allow")

    async def bearer(self, token: str, port: int = 0, **more: str) -> Answer:
        return await asyncio.to_thread(self.pay, {"authorization": f"Bearer {token}", **more}, port)


EnvoyMaker = Callable[[Callable[[str], str]], Awaitable[tuple[int, int]]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[BoundStack, IssuerServer, EnvoyMaker]]:
    directory = tmp_path_factory.mktemp("vouched")
    async with AsyncExitStack() as closing:
        issuer = await closing.enter_async_context(IssuerServer(keys=[KEY]))
        policies = vouched_policies(directory / "policies", "    dpop: {}\n", issuer.issuer)
        stack = BoundStack(directory / "run", choose_ports(None), policies, "grpcio", is_tls=False)
        closing.push_async_callback(stack.stop)
        await stack.start(lambda _: None)

        async def make(change: Callable[[str], str]) -> tuple[int, int]:
            free = choose_ports(None)
            ports = replace(stack.ports, envoy=free.envoy, envoy_admin=free.envoy_admin)
            issuer_port = int(issuer.url.rpartition(":")[2])
            text = SHIPPED.read_text("utf-8").replace("/jwks.json", "/jwks").replace(DEVELOPMENT_ISSUER, issuer.issuer)
            text = exchange_ports(on_ports(text, ports), {DEFAULTS.issuer: issuer_port})
            configuration = directory / f"{ports.envoy}.yaml"
            configuration.write_text(change(text), "utf-8")
            await closing.enter_async_context(another_envoy(configuration, ports.envoy_admin))
            await until(lambda: is_healthy(ports.envoy_admin), 20)
            return ports.envoy, ports.envoy_admin

        yield stack, issuer, make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def make_envoy(parts: tuple[BoundStack, IssuerServer, EnvoyMaker]) -> EnvoyMaker:
    return parts[2]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(parts: tuple[BoundStack, IssuerServer, EnvoyMaker]) -> VouchedChain:
    stack, issuer, make = parts
    return VouchedChain(stack, issuer.issuer, *await make(lambda text: text))


def exchanged(text: str, old: str, new: str) -> str:
    heading, separator, chain = text.partition("\nadmin:\n")
    assert chain.count(old) == 1
    return heading + separator + chain.replace(old, new)


def is_healthy(admin_port: int) -> bool:
    clusters = get_text(admin_port, "/clusters") or ""
    flags = re.findall(r"^(?:extauthz|ratelimit)::\S+::health_flags::(\S+)", clusters, re.MULTILINE)
    return flags == ["healthy", "healthy"]


async def test_payment_with_a_good_token_passes_cold_and_warm(chain: VouchedChain):
    token = chain.token(jti="twice")
    assert await chain.bearer(token) == (200, "allow")
    assert await chain.bearer(token) == (200, "allow")
    assert await chain.bearer(chain.token(aud=["https://another.example", AUDIENCE])) == (200, "allow")


@pytest.mark.parametrize(
    ("claims", "key"),
    [
        pytest.param({"iss": "https://another.example"}, KEY, id="another issuer"),
        pytest.param({"iat": 1_000_000_000, "exp": 1_000_000_600}, KEY, id="expired"),
        pytest.param({"nbf": 4_000_000_000}, KEY, id="not yet"),
        pytest.param({"aud": "https://another.example"}, KEY, id="another audience"),
        pytest.param({}, SigningKey("ES256", "k1"), id="another key"),
    ],
)
async def test_token_that_is_not_good_is_refused_by_envoy(chain: VouchedChain, claims: dict[str, Any], key: SigningKey):
    assert await chain.bearer(chain.token(key, **claims)) == (401, "gateway_access_token")


async def test_request_without_a_token_is_refused(chain: VouchedChain):
    assert await asyncio.to_thread(chain.pay, {}) == (401, "gateway_access_token")
    assert await asyncio.to_thread(chain.pay, {"authorization": "Basic eDp5"}) == (401, "gateway_access_token")


@pytest.mark.parametrize(
    ("claims", "header", "reason"),
    [
        pytest.param({"client_id": None}, {}, "access_token_invalid", id="no client"),
        pytest.param({"jti": None}, {}, "access_token_invalid", id="no jti"),
        pytest.param({"iat": 1_700_000_000}, {}, "access_token_invalid", id="lives too long"),
        pytest.param({"amount": 2**60}, {}, "access_token_invalid", id="a number no double holds"),
        pytest.param({}, {"typ": "JWT"}, "access_token_invalid", id="perhaps an ID token"),
        pytest.param({"cnf": {"jkt": "A" * 43}}, {}, "token_binding", id="bound and sent as a bearer token"),
        pytest.param({"cnf": {"x5t#S256": "A" * 43}}, {}, "token_binding", id="bound to a certificate"),
        pytest.param({"merchant_id": "m_nobody"}, {}, "merchant_unknown", id="unknown merchant"),
        pytest.param({"scope": "payments:read"}, {}, "insufficient_scope", id="another scope"),
    ],
)
async def test_what_envoy_lets_pass_is_checked_again(
    chain: VouchedChain, claims: dict[str, Any], header: dict[str, Any], reason: str
):
    status, said = await chain.bearer(chain.token(header=header, **claims))
    assert status in (401, 403)
    assert said == reason


@pytest.mark.parametrize("name", ["x-jwt-payload", PAYLOAD_KEY.replace("_", "-"), "envoy.filters.http.jwt-authn"])
async def test_no_header_speaks_for_envoy(chain: VouchedChain, name: str):
    claims = good_claims(chain.issuer, SystemClock().wall(), aud=AUDIENCE, merchant_id="m_active")
    forged = base64.b64encode(json.dumps(claims).encode()).decode()
    unsigned = chain.token(SigningKey("ES256", "k1"))

    assert await asyncio.to_thread(chain.pay, {name: forged}) == (401, "gateway_access_token")
    assert await chain.bearer(unsigned, **{name: forged}) == (401, "gateway_access_token")
    # The chain without the filter: no metadata, so the header has every chance there.
    assert await chain.bearer(unsigned, chain.stack.ports.envoy, **{name: forged}) == (401, "access_token_invalid")


async def test_token_in_another_place_counts_nowhere(chain: VouchedChain):
    path = f"/v1/payments?access_token={chain.token()}"
    assert await asyncio.to_thread(chain.pay, {}, 0, path) == (401, "gateway_access_token")
    good = {"authorization": f"Bearer {chain.token()}"}
    assert await asyncio.to_thread(chain.pay, good, 0, path) == (400, "access_token_presentation")


async def test_chain_without_the_filter_lets_nothing_pass(chain: VouchedChain):
    assert await chain.bearer(chain.token(), chain.stack.ports.envoy) == (401, "access_token_invalid")
    assert await asyncio.to_thread(chain.pay, {}, chain.stack.ports.envoy) == (401, "access_token_missing")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(FILTER, f"{FILTER}            disabled: true\n", id="filter off"),
        pytest.param(NAMESPACES, "", id="metadata not sent"),
        pytest.param(f"  payload_in_metadata: {PAYLOAD_KEY}\n", "  payload_in_metadata: another\n", id="another key"),
    ],
)
async def test_chain_that_vouches_for_nothing_lets_nothing_pass(
    chain: VouchedChain, make_envoy: EnvoyMaker, old: str, new: str
):
    port, _ = await make_envoy(lambda text: exchanged(text, old, new))

    assert await chain.bearer(chain.token(), port) == (401, "access_token_invalid")


@pytest.mark.parametrize("lax", ["allow_missing_or_failed", "extract_only_without_validation"])
async def test_envoy_that_lets_failed_tokens_pass_vouches_for_none_of_them(
    chain: VouchedChain, make_envoy: EnvoyMaker, tmp_path: Path, lax: str
):
    port, _ = await make_envoy(lambda text: exchanged(text, REQUIRED, f"requires: {{{lax}: {{}}}}"))
    configuration = tmp_path / "envoy.yaml"
    configuration.write_text(exchanged(SHIPPED.read_text("utf-8"), REQUIRED, f"requires: {{{lax}: {{}}}}"), "utf-8")
    providers = load_policy_set(vouched_policies(tmp_path / "policies")).providers.providers

    assert await chain.bearer(chain.token(SigningKey("ES256", "k1")), port) == (401, "access_token_invalid")
    assert await asyncio.to_thread(chain.pay, {}, port) == (401, "access_token_missing")
    # Another Envoy could write what it did not verify, and no request would show it: the file is refused all the same.
    assert any(lax in finding for finding in check_envoy(read_envoy_file(configuration), providers))


async def test_payment_with_a_bound_token_needs_its_proof(chain: VouchedChain):
    client = DpopClient(address=f"http://127.0.0.1:{chain.port}/v1/payments")
    token = chain.token(cnf={"jkt": client.jkt})
    headers = {"authorization": f"DPoP {token}", "dpop": client.proof(token, SystemClock().wall())}

    assert await asyncio.to_thread(chain.pay, headers) == (200, "allow")
    assert await asyncio.to_thread(chain.pay, headers) == (401, "dpop_proof_invalid")
    other = client.proof(chain.token(jti="another"), SystemClock().wall())
    assert await asyncio.to_thread(chain.pay, {**headers, "dpop": other}) == (401, "dpop_proof_invalid")


async def test_metadata_of_the_api_needs_no_token(chain: VouchedChain):
    def ask(method: str) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", chain.port, timeout=15)) as asking:
            asking.request(method, METADATA_PATH)
            return asking.getresponse().status

    assert await asyncio.to_thread(ask, "GET") == 200
    assert await asyncio.to_thread(ask, "POST") == 401


async def test_envoy_without_keys_says_that_it_is_the_gates_fault(chain: VouchedChain, make_envoy: EnvoyMaker):
    issuer_port = chain.issuer.rpartition(":")[2]
    port, _ = await make_envoy(lambda text: exchanged(text, f"port_value: {issuer_port}", f"port_value: {CLOSED_PORT}"))

    assert await chain.bearer(chain.token(), port) == (503, "gateway_authorization_unavailable")


async def test_nothing_passes_while_extauthz_is_away(chain: VouchedChain):
    await chain.stack.take_away("extauthz")
    try:
        assert (await chain.bearer(chain.token()))[0] == 503
    finally:
        await chain.stack.bring_back("extauthz")
    await until(lambda: is_healthy(chain.admin_port), 20)
    assert await chain.bearer(chain.token()) == (200, "allow")
