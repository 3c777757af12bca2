"""Requests written by hand, so that no client library tidies them up, against the whole stack."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from tollhouse.token import fetch_token
from tollhouse.up.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYMENT = json.dumps({"merchant_id": "m_active", "amount": {"minor_units": 1250, "currency": "EUR"}}).encode()
PATIENCE_SECONDS = 15.0
LENGTH = f"content-length: {len(PAYMENT)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n" % (len(PAYMENT), PAYMENT)
TAKEN_OFF = [
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: DELETE",
    "X-Method-Override: DELETE",
    "X-Original-URL: /v1/admin",
    "X-Rewrite-URL: /v1/admin",
    "X-Original-Method: GET",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Prefix: /v1/admin",
    "X-Forwarded-Port: 1",
    "X-Forwarded: for=10.0.0.1",
    "Forwarded: for=10.0.0.1",
    "X-Real-IP: 10.0.0.1",
    "True-Client-IP: 10.0.0.1",
    "X-Envoy-Original-Path: /v1/admin",
    "X-Envoy-Original-Method: GET",
    "X-Envoy-Attempt-Count: 1",
    "X-Envoy-Retry-On: 5xx",
    "X-Envoy-Max-Retries: 9",
    "X-Envoy-Upstream-Rq-Timeout-Ms: 1",
    "X-Envoy-Peer-Metadata: x",
    "X-Tollhouse-Review: true",
]


@dataclass(frozen=True)
class Edge:
    """The gate's port, a token of m_active, and what the upstream has counted."""

    stack: Stack
    token: str

    async def send(self, start: str, *lines: str, body: bytes = PAYMENT) -> list[int]:
        """Send one request with these header lines; return every status that comes back."""
        head = "\r\n".join([start, f"authorization: Bearer {self.token}", "connection: close", *lines, "", ""])
        reader, writer = await asyncio.open_connection(*self.stack.gate_address)
        try:
            writer.write(head.encode("latin-1") + body)
            answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        finally:
            writer.close()
        return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]

    def upstream(self) -> dict[str, object]:
        return self.stack.upstream_stats()

    async def assert_refused(self, status: int, start: str, *lines: str, body: bytes = PAYMENT) -> None:
        """The request gets `status` and never arrives; its plain twin does."""
        before = self.upstream()["requests"]
        assert await self.send(start, *lines, body=body) == [status]
        assert self.upstream()["requests"] == before
        assert await self.send(*PLAIN) == [200]


HOST = "host: payments.tollhouse.test"
JSON = "content-type: application/json"
POST = "POST /v1/payments HTTP/1.1"
PLAIN = (POST, HOST, JSON, LENGTH)


@pytest.fixture
def edge(stack: Stack) -> Edge:
    return Edge(stack, fetch_token(stack.issuer_url))


async def test_headers_that_would_turn_the_payment_into_another_request_do_not_arrive(edge: Edge) -> None:
    assert await edge.send(*PLAIN, *TAKEN_OFF, "X-Kept: 1") == [200]
    arrived = edge.upstream()["last_headers"]
    assert isinstance(arrived, list)
    assert "x-kept" in arrived
    assert {line.partition(":")[0].lower() for line in TAKEN_OFF}.isdisjoint(arrived)


@pytest.mark.parametrize(
    ("status", "start", "lines", "body"),
    [
        pytest.param(
            400, POST, (HOST, JSON, LENGTH, "transfer-encoding: chunked"), CHUNKED + b"\r\n", id="two lengths"
        ),
        pytest.param(400, POST, (HOST, JSON, LENGTH, LENGTH), PAYMENT, id="a length twice"),
        pytest.param(400, POST, (HOST, JSON, "content-length: 0"), b"", id="no body"),
        pytest.param(400, POST, (HOST, JSON), b"", id="no length"),
        pytest.param(501, POST, (HOST, JSON, "transfer-encoding: identity, chunked"), CHUNKED + b"\r\n", id="codings"),
        pytest.param(400, POST, (HOST, "host: evil.test", JSON, LENGTH), PAYMENT, id="two hosts"),
        pytest.param(404, "POST http://evil.test/v1/payments HTTP/1.1", (HOST, JSON, LENGTH), PAYMENT, id="whole URL"),
        pytest.param(426, "POST /v1/payments HTTP/1.0", (HOST, JSON, LENGTH), PAYMENT, id="HTTP/1.0"),
        pytest.param(404, "CONNECT payments.tollhouse.test:443 HTTP/1.1", (HOST,), b"", id="tunnel"),
        pytest.param(404, "OPTIONS * HTTP/1.1", (HOST,), b"", id="server-wide options"),
        pytest.param(404, "HEAD /v1/payments/p HTTP/1.1", (HOST,), b"", id="head is not get"),
        pytest.param(
            403,
            "GET /v1/payments/p HTTP/1.1",
            (HOST, "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
            b"",
            id="websocket",
        ),
        pytest.param(401, POST, (HOST, JSON, LENGTH, "connection: authorization"), PAYMENT, id="token is hop by hop"),
        pytest.param(400, POST, (HOST, JSON, LENGTH, "connection: content-type"), PAYMENT, id="type is hop by hop"),
        pytest.param(400, POST, (HOST, JSON, LENGTH, "authorization: Bearer a.b.c"), PAYMENT, id="two tokens"),
    ],
)
async def test_request_with_two_readings_never_arrives(
    edge: Edge, status: int, start: str, lines: tuple[str, ...], body: bytes
) -> None:
    await edge.assert_refused(status, start, *lines, body=body)


async def test_call_of_grpc_is_refused_in_its_own_words(edge: Edge) -> None:
    # gRPC has its status in a header, and Envoy answers 200 whatever was decided.
    await edge.assert_refused(200, POST, HOST, LENGTH, "content-type: application/grpc", "te: trailers")


async def test_trailer_of_the_caller_does_not_arrive_and_chunks_are_read_whole(edge: Edge) -> None:
    lines = (HOST, JSON, "transfer-encoding: chunked", "trailer: x-tollhouse-review")
    assert await edge.send(POST, *lines, body=CHUNKED + b"x-tollhouse-review: true\r\n\r\n") == [200]
    assert "x-tollhouse-review" not in str(edge.upstream()["last_headers"])


async def test_amounts_sent_at_once_never_pass_the_daily_quota_together(stack: Stack) -> None:
    racing = Edge(stack, fetch_token(stack.issuer_url, merchant="m_small"))
    body = json.dumps({"merchant_id": "m_small", "amount": {"minor_units": 9000, "currency": "EUR"}}).encode()
    lines = (HOST, JSON, f"content-length: {len(body)}")
    before = racing.upstream()["requests"]
    statuses = [
        status
        for answer in await asyncio.gather(*(racing.send(POST, *lines, body=body) for _ in range(24)))
        for status in answer
    ]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) * 9000 <= 50_000
    assert racing.upstream()["requests"] == before + statuses.count(200)
