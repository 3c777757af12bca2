"""Signed payments through a real Envoy: what it joins, rewrites and cuts is what the signature is checked against."""

import asyncio
import contextlib
import http.client
import json
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from helpers.bound_stack import KEY, PROVIDER, BoundStack
from helpers.issuer import IssuerServer, good_claims, mint
from helpers.services import AUDIENCE, edit, payment
from helpers.signing import COMPONENTS, SigningClient
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = json.dumps(payment()).encode()
Headers = dict[str, str]


@dataclass(frozen=True)
class SignedChain:
    """A running stack that demands signed payments, and the client whose key it knows."""

    stack: BoundStack
    issuer: str
    client: SigningClient

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.stack.ports.envoy}/v1/payments"

    def signed(self, components: Iterable[str] = COMPONENTS, url: str = "", **more: str) -> Headers:
        claims = good_claims(self.issuer, SystemClock().wall(), aud=AUDIENCE, merchant_id="m_active")
        headers = {"content-type": "application/json", "authorization": f"Bearer {mint(KEY, claims)}", **more}
        return self.client.sign(headers, BODY, components=tuple(components), url=url or self.address)

    def pay(
        self, headers: Headers, *again: tuple[str, str], body: bytes = BODY, path: str = "/v1/payments"
    ) -> tuple[int, Headers, str]:
        """Send a payment, with the headers of `again` as further lines; return status, headers and reason."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.stack.ports.envoy, timeout=15)) as sending:
            sending.putrequest("POST", path)
            for name, value in (*headers.items(), *again, ("content-length", str(len(body)))):
                sending.putheader(name, value)
            sending.endheaders(body)
            answer = sending.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, json.loads(answer.read()).get("reason", "allow")

    async def reason(self, headers: Headers, *again: tuple[str, str], **more: object) -> str:
        status, _, reason = await asyncio.to_thread(self.pay, headers, *again, **more)
        assert (status == 200) is (reason == "allow")
        return reason


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[SignedChain]:
    directory = tmp_path_factory.mktemp("signed")
    copy, client = directory / "policies", SigningClient()
    shutil.copytree(policies, copy)
    async with IssuerServer(keys=[KEY]) as issuer:
        signers = f"signers:\n{client.entry(issuer.issuer)}"
        edit(copy / "providers.yaml", "providers:\n", f"{signers}providers:\n{PROVIDER.format(issuer=issuer.issuer)}")
        money = "    moves_money: true # amount"
        edit(copy / "routes.yaml", money, f"    message_signature: {{}}\n    cookies: refuse\n{money}")
        stack = BoundStack(directory / "run", choose_ports(None), copy, "grpcio", is_tls=False)
        try:
            await stack.start(lambda _: None)
            yield SignedChain(stack, issuer.issuer, client)
        finally:
            await stack.stop()


async def test_signed_payment_passes_once_through_envoy(chain: SignedChain):
    signed = chain.signed()
    assert await chain.reason(signed) == "allow"
    assert await chain.reason(signed) == "signature_invalid"
    with_query = chain.signed(url=f"{chain.address}?x=a%20b")
    assert await chain.reason(with_query, path="/v1/payments?x=a%20b") == "allow"


async def test_cookie_beside_the_token_is_refused_although_envoy_keeps_it(chain: SignedChain):
    for cookies in (("cookie", "session=abc"),), (("cookie", "a=1"), ("cookie", "b=2")), (("cookie", "x"),):
        assert await chain.reason(chain.signed(), *cookies) == "access_token_presentation"
    assert await chain.reason(chain.signed()) == "allow"
    assert not [name for name in chain.stack.upstream_stats()["last_headers"] if name.startswith("x-tollhouse-")]


async def test_unsigned_payment_is_told_what_to_sign(chain: SignedChain):
    unsigned = {name: value for name, value in chain.signed().items() if not name.startswith("signature")}
    status, told, reason = await asyncio.to_thread(chain.pay, unsigned)
    assert (status, reason) == (401, "signature_missing")
    assert told["accept-signature"].startswith('sig1=("@method" "@target-uri"')
    assert told["want-content-digest"].startswith("sha-256=")
    assert told["www-authenticate"].startswith("Bearer ")


async def test_what_was_changed_on_the_way_is_refused(chain: SignedChain):
    dearer = json.dumps(payment(amount={"minor_units": 99999, "currency": "EUR"})).encode()
    signed = chain.signed()
    assert await chain.reason(signed, body=dearer) == "content_digest_mismatch"
    assert await chain.reason(signed, path="/v1/payments?x=1") == "signature_invalid"
    other = chain.signed()["signature"]
    assert await chain.reason({**signed, "signature": other}) == "signature_invalid"
    assert await chain.reason(signed) == "allow"


async def test_covered_header_in_two_lines_is_refused(chain: SignedChain):
    names = (*COMPONENTS, "idempotency-key")
    signed = chain.signed(names, **{"idempotency-key": "a,b"})
    split = {**signed, "idempotency-key": "a"}
    assert await chain.reason(split, ("idempotency-key", "b")) == "signature_invalid"
    spaced = chain.signed(names, **{"idempotency-key": "a, b"})
    split = {**spaced, "idempotency-key": "a"}
    assert await chain.reason(split, ("idempotency-key", "b")) == "signature_invalid"
    assert await chain.reason(spaced) == "allow"


async def test_second_signature_in_a_line_of_its_own_is_refused(chain: SignedChain):
    signed, other = chain.signed(), chain.signed()
    again = [(name, other[name]) for name in ("signature-input", "signature")]
    assert await chain.reason(signed, *again) == "signature_invalid"
    assert await chain.reason(signed) == "allow"


async def test_body_that_envoy_would_cut_is_413(chain: SignedChain):
    long = BODY[:-1] + b" " * 70_000 + b"}"
    status, _, _ = await asyncio.to_thread(chain.pay, chain.signed(), body=long)
    assert status == 413
