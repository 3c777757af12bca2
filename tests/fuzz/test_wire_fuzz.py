"""Any bytes on the wire: a value or a refusal, never an exception; and no refusal that Envoy reads as yes.

Answers are read with envoy-data-plane's full definitions, which share no code with ours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extauthz.model import Allow, AuthzRequest, Challenge, Deny, Unavailable
from extauthz.reasons import Reason as AuthzReason
from extauthz.wire import Stamp, parse_check_request, render_check_response
from helpers.fuzzing.wire_targets import UNREAD
from helpers.requests import authz_request
from helpers.services import check_bytes
from helpers.wire_oracle import auth, messages, rls
from policy.handoff import DOMAIN, ENTRIES
from policy.money import MAX_AMOUNT_MINOR
from protos import envoy_wire_pb2 as wire
from ratelimit.model import LimitQuery, OverLimit
from ratelimit.reasons import Reason as LimitReason
from ratelimit.wire import parse_rate_limit_request, render_rate_limit_response

FUZZ = settings(max_examples=200, deadline=None)
STAMP = Stamp("d" * 32, "a" * 16, "https://docs.test/errors.md", "tollhouse")
GOOD_ENTRIES = dict(
    zip(
        ENTRIES,
        ["2", "m_active", "create_payment", "EUR", "100", *["none"] * 6, "d" * 32, "a" * 16],
        strict=True,
    )
)
HEADER_NAMES = st.sampled_from(["authorization", "x-tollhouse-review", "x-tollhouse-", "X-Tollhouse-A"])
HEADER_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NEAR_VALUES = st.one_of(
    st.text(max_size=20), st.integers().map(str), st.sampled_from(["absent", "none", "", "1.0", "-1", "1e3", "EUR\n"])
)


def handoff_bytes(entries: list[tuple[str, str]], domain: str = DOMAIN) -> bytes:
    request = wire.RateLimitRequest(domain=domain)
    descriptor = request.descriptors.add()
    for key, value in entries:
        descriptor.entries.add(key=key, value=value)
    return request.SerializeToString()


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Draw a good message with some bytes cut out, put in or overwritten."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


CHECKS = st.one_of(
    st.binary(max_size=200),
    messages(wire.CheckRequest).map(lambda message: message.SerializeToString()),
    damaged(check_bytes("a.b.c", headers={"x-request-id": "r"})),
    damaged(check_bytes("a.b.c", raw_headers=True)),
)
HITS = st.one_of(
    st.binary(max_size=200),
    messages(wire.RateLimitRequest).map(lambda message: message.SerializeToString()),
    damaged(handoff_bytes(list(GOOD_ENTRIES.items()))),
)


@FUZZ
@given(CHECKS)
def test_any_check_is_a_request_or_a_refusal(data: bytes):
    parsed = parse_check_request(data)
    if isinstance(parsed, Deny):
        assert parsed.reason is AuthzReason.REQUEST_MALFORMED
        return
    assert isinstance(parsed, AuthzRequest)
    assert parsed.method
    assert parsed.path
    assert parsed.host
    assert isinstance(parsed.body, bytes)
    assert all(name == name.lower() or name in wire_headers(data) for name in parsed.headers)


def wire_headers(data: bytes) -> set[str]:
    return set(wire.CheckRequest.FromString(data).attributes.request.http.headers)


@FUZZ
@given(HITS)
def test_any_hit_is_a_query_of_the_contract_or_over_limit(data: bytes):
    assert_query_or_refusal(parse_rate_limit_request(data))


@FUZZ
@given(st.dictionaries(st.sampled_from(ENTRIES), NEAR_VALUES, min_size=1, max_size=3), st.permutations(ENTRIES))
def test_any_hand_off_near_the_contract_is_read_exactly_or_over_limit(changes: dict[str, str], order: list[str]):
    entries = {**GOOD_ENTRIES, **changes}
    assert_query_or_refusal(parse_rate_limit_request(handoff_bytes(list(entries.items()))))
    shuffled = parse_rate_limit_request(handoff_bytes([(name, GOOD_ENTRIES[name]) for name in order]))
    assert isinstance(shuffled, LimitQuery) == (tuple(order) == ENTRIES)


def assert_query_or_refusal(parsed: LimitQuery | OverLimit) -> None:
    if isinstance(parsed, OverLimit):
        assert parsed.reason in UNREAD
        return
    assert isinstance(parsed, LimitQuery)
    assert "absent" not in (parsed.merchant_id, parsed.operation, parsed.currency)
    assert (parsed.amount_minor is None) == (parsed.currency is None)
    if parsed.amount_minor is not None:
        assert 0 <= parsed.amount_minor <= MAX_AMOUNT_MINOR


@pytest.mark.parametrize("reason", AuthzReason, ids=lambda reason: reason.code)
@settings(max_examples=10, deadline=None)
@given(description=st.none() | st.just("fixed text"), seconds=st.integers(0, 86_400), headers=st.booleans())
def test_no_refusal_reads_as_allow_in_envoys_definition(
    reason: AuthzReason, description: str | None, seconds: int, headers: bool
):
    request = authz_request() if headers else None
    challenge = Challenge("invalid_token", description)
    denied = Deny(reason, challenge=challenge, detail="never sent", retry_after_seconds=seconds)
    for decision, member in ((denied, "denied_response"), (Unavailable(reason), "error_response")):
        data = render_check_response(decision, STAMP, request)
        full = auth.CheckResponse.parse(data)
        assert int(full.status.code) != 0
        refusal = getattr(full, member)
        assert int(refusal.status.code) == reason.spec.http_status
        assert json.loads(refusal.body)["reason"] == reason.code
        assert b"never sent" not in data


@FUZZ
@given(
    st.dictionaries(HEADER_NAMES, HEADER_TEXT),
    st.dictionaries(st.sampled_from(ENTRIES), st.text(max_size=8)),
    st.booleans(),
    st.booleans(),
)
def test_allow_reads_as_allow_with_strings_only_and_own_headers_removed(
    headers: dict[str, str], handoff: dict[str, str], forward_token: bool, is_review: bool
):
    allow = Allow(handoff=handoff, forward_token=forward_token, is_review=is_review)
    request = authz_request(headers={name.lower(): value for name, value in headers.items()})
    full = auth.CheckResponse.parse(render_check_response(allow, STAMP, request))
    assert int(full.status.code) == 0
    set_headers = {option.header.key for option in full.ok_response.headers}
    removed = set(full.ok_response.headers_to_remove)
    assert {name for name in request.headers if name.startswith("x-tollhouse-")} <= removed | set_headers
    assert ("authorization" in removed) is not forward_token
    assert all(value.string_value is not None for value in full.dynamic_metadata.fields.values())


@pytest.mark.parametrize("reason", LimitReason, ids=lambda reason: reason.code)
def test_no_limit_refusal_reads_as_ok_in_envoys_definition(reason: LimitReason):
    over: Any = OverLimit(reason, detail="never sent", retry_after_seconds=3)
    data = render_rate_limit_response(over, decision_id="d" * 32, errors_uri="https://docs.test/errors.md")
    full = rls.RateLimitResponse.parse(data)
    assert full.overall_code == rls.RateLimitResponseCode.OVER_LIMIT
    assert json.loads(full.raw_body)["reason"] == reason.code
    assert b"never sent" not in data
