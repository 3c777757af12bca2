"""What Envoy sends is read one way; what we answer can never read as allow by accident."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.model import Allow, AuthzRequest, Challenge, Deny, Unavailable
from extauthz.reasons import Reason
from extauthz.wire import Stamp, parse_check_request, render_check_response
from helpers.requests import authz_request
from protos import envoy_wire_pb2 as wire

STAMP = Stamp("d" * 32, "abcd1234", "https://docs.test/errors", "tollhouse")


def check_request(**http):
    message = wire.CheckRequest()
    fields = {"method": "POST", "path": "/v1/payments", "host": "payments.test", **http}
    for name in ("headers", "header_map"):
        value = fields.pop(name, None)
        if value is not None and name == "headers":
            message.attributes.request.http.headers.update(value)
        elif value is not None:
            for key, raw in value:
                message.attributes.request.http.header_map.headers.add(key=key, raw_value=raw)
    for name, value in fields.items():
        setattr(message.attributes.request.http, name, value)
    message.attributes.source.address.socket_address.address = "192.0.2.1"
    return message.SerializeToString()


def answer(decision, request=None):
    return wire.CheckResponse.FromString(render_check_response(decision, STAMP, request))


def test_both_header_encodings_give_one_reading():
    as_map = parse_check_request(check_request(headers={"authorization": "Bearer a", "x": "1,2"}))
    as_list = parse_check_request(check_request(header_map=[("Authorization", b"Bearer a"), ("x", b"1"), ("x", b"2")]))
    assert isinstance(as_map, AuthzRequest)
    assert as_map == as_list


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xff\xff", id="no protobuf"),
        pytest.param(wire.CheckRequest().SerializeToString(), id="a TCP check"),
        pytest.param(check_request(headers={"a": "b"}, header_map=[("a", b"c")]), id="headers twice"),
        pytest.param(check_request(body="{}", raw_body=b"{ }"), id="body twice"),
        pytest.param(check_request(path=""), id="no path"),
    ],
)
def test_bytes_that_are_no_http_check_are_refused(data):
    refusal = parse_check_request(data)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("http", "is_partial"),
    [
        ({"raw_body": b"{}", "headers": {}}, False),
        ({"raw_body": b"{}", "headers": {"content-length": "2"}, "size": 2}, False),
        ({"raw_body": b"{}", "headers": {"x-envoy-auth-partial-body": "true"}}, True),
        ({"raw_body": b"{}", "headers": {}, "size": 100}, True),
        ({"raw_body": b"", "headers": {"content-length": "40"}}, True),
        ({"raw_body": b"{}", "headers": {"content-length": "2,2"}}, True),
    ],
)
def test_body_whose_end_was_not_seen_is_partial(http, is_partial):
    request = parse_check_request(check_request(**http))
    assert isinstance(request, AuthzRequest)
    assert request.body_is_partial is is_partial


def test_allow_hands_over_strings_and_strips_token_and_own_headers():
    request = authz_request(headers={"authorization": "Bearer a", "x-tollhouse-merchant-id": "forged"})
    message = answer(
        Allow(handoff={"merchant_id": "m_1", "amount_minor": "9007199254740991"}, forward_token=False), request
    )
    assert message.status.code == 0
    assert set(message.ok_response.headers_to_remove) == {"authorization", "x-tollhouse-merchant-id"}
    fields = message.dynamic_metadata.fields
    assert fields["amount_minor"].string_value == "9007199254740991"
    assert fields["decision_id"].string_value == "d" * 32
    assert not message.ok_response.headers


def test_allow_that_forwards_the_token_keeps_it_and_review_overwrites_a_forged_header():
    request = authz_request(headers={"authorization": "Bearer a", "x-tollhouse-review": "false"})
    message = answer(Allow(handoff={}, forward_token=True, is_review=True), request)
    assert list(message.ok_response.headers_to_remove) == []
    assert [(each.header.key, each.header.value) for each in message.ok_response.headers] == [
        ("x-tollhouse-review", "true")
    ]


def test_deny_carries_challenge_problem_and_decision_id():
    challenge = Challenge(error="insufficient_scope", scope="payments:write")
    message = answer(Deny(Reason.SCOPE_INSUFFICIENT, challenge=challenge, detail="for the log"))
    assert message.status.code != 0
    denied = message.denied_response
    headers = {each.header.key: each.header.value for each in denied.headers}
    assert denied.status.code == 403
    assert headers["www-authenticate"] == (
        'Bearer realm="tollhouse", error="insufficient_scope", scope="payments:write"'
    )
    body = orjson.loads(denied.body)
    assert (body["reason"], body["decision_id"]) == ("insufficient_scope", "d" * 32)
    assert "for the log" not in str(message)


@pytest.mark.parametrize("reason", list(Reason))
def test_no_refusal_of_any_reason_renders_as_allow(reason):
    denied = answer(Deny(reason))
    assert denied.status.code != 0
    assert denied.denied_response.status.code == reason.spec.http_status >= 400
    unavailable = answer(Unavailable(reason))
    assert unavailable.status.code != 0
    assert unavailable.HasField("error_response")


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(data):
    assert isinstance(parse_check_request(data), AuthzRequest | Deny)
