"""Header encodings of a CheckRequest that could be read in two ways."""

from __future__ import annotations

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from extauthz.servicer import CHECK_METHOD
from helpers.issuer import SigningKey
from helpers.services import check_bytes, gate, reason_of
from protos import envoy_wire_pb2 as wire

KEY = SigningKey("ES256", "k1")


@pytest_asyncio.fixture
async def running(tmp_path):
    async with gate(tmp_path, KEY) as service:
        yield service


async def check(running, *headers: wire.HeaderValue) -> wire.CheckResponse:
    """Send a good payment with further headers in `header_map`."""
    message = wire.CheckRequest.FromString(check_bytes(running.token(), raw_headers=True))
    message.attributes.request.http.header_map.headers.extend(headers)
    until = SystemClock().monotonic() + 5
    return wire.CheckResponse.FromString(
        await running.service.methods[CHECK_METHOD](message.SerializeToString(), until)
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param(wire.HeaderValue(key="x", value="a", raw_value=b"b"), "request_malformed", id="two values"),
        pytest.param(wire.HeaderValue(key="x", value="a"), "allow", id="twin: a value alone"),
        pytest.param(wire.HeaderValue(key="x", raw_value=b"\xff\xfe"), "allow", id="twin: bytes alone"),
        pytest.param(
            wire.HeaderValue(key="authorization", raw_value=b""), "access_token_presentation", id="empty twin"
        ),
        pytest.param(wire.HeaderValue(key="AUTHORIZATION", raw_value=b"x"), "access_token_presentation", id="capitals"),
        pytest.param(wire.HeaderValue(key="content-length", raw_value=b"1"), "body_unreadable", id="another length"),
        pytest.param(wire.HeaderValue(key="content-encoding", raw_value=b""), "body_unreadable", id="empty coding"),
        pytest.param(wire.HeaderValue(key="Content-Encoding", raw_value=b"br"), "body_unreadable", id="coded"),
        pytest.param(wire.HeaderValue(key="content-type", raw_value=b"\xff"), "body_unreadable", id="second type"),
        pytest.param(
            wire.HeaderValue(key="x-envoy-auth-partial-body", raw_value=b"false,true"), "body_unreadable", id="partial"
        ),
    ],
)
async def test_header_with_two_readings_is_refused(running, header, reason):
    assert reason_of(await check(running, header)) == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Content-Length", "1", "body_unreadable"),
        ("Content-Encoding", "gzip", "body_unreadable"),
        ("Authorization", "Bearer a.b.c", "access_token_presentation"),
        ("X-Other", "1", "allow"),
    ],
)
async def test_capitals_hide_no_header_in_the_plain_map_either(running, name, value, reason):
    assert await running.reason(running.token(), headers={name: value}) == reason


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_own_header_in_capitals_is_taken_off(running, raw_headers):
    response = await running.check(running.token(), headers={"X-Tollhouse-Review": "true"}, raw_headers=raw_headers)
    assert "x-tollhouse-review" in response.ok_response.headers_to_remove
