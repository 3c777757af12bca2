"""Only the exact hand-off is read; every answer sets its code."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.handoff import ENTRIES
from protos import envoy_wire_pb2 as wire
from ratelimit.model import LimitQuery, OverLimit, QuotaState, WithinLimit
from ratelimit.reasons import Reason
from ratelimit.wire import parse_rate_limit_request, render_rate_limit_response

HANDOFF = {
    "handoff": "2",
    "merchant_id": "m_1",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": "1250",
    "card_key": "none",
    "sub_merchant": "none",
    "payer": "none",
    "device": "none",
    "ip": "none",
    "idempotency": "none",
    "decision_id": "d" * 32,
    "policy_revision": "abcd1234abcd1234",
}


def message(entries=None, domain="tollhouse", **changes):
    request = wire.RateLimitRequest(domain=domain, hits_addend=changes.pop("hits_addend", 0))
    descriptor = request.descriptors.add()
    for key, value in (HANDOFF if entries is None else entries).items():
        descriptor.entries.add(key=key, value=value)
    if "descriptor" in changes:
        descriptor.MergeFrom(changes.pop("descriptor"))
    return request


def parse(request):
    return parse_rate_limit_request(request.SerializeToString())


def test_handoff_is_read():
    assert parse(message()) == LimitQuery("m_1", "create_payment", "EUR", 1250, "d" * 32, "abcd1234abcd1234")


def test_handoff_of_an_operation_without_money_has_no_amount():
    query = parse(message({**HANDOFF, "currency": "none", "amount_minor": "none"}))
    assert isinstance(query, LimitQuery)
    assert (query.currency, query.amount_minor) == (None, None)


KEY_1, KEY_2 = f"k1.{'A' * 43}", f"k2.{'b-_' * 14}9"


@pytest.mark.parametrize(("text", "card_keys"), [("none", ()), (KEY_1, (KEY_1,)), (f"{KEY_2},{KEY_1}", (KEY_2, KEY_1))])
def test_card_key_is_read_under_one_key_or_two(text, card_keys):
    assert parse(message({**HANDOFF, "card_key": text})).card_keys == card_keys


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{KEY_1},{KEY_1}", id="one key id twice"),
        pytest.param(f"{KEY_1},k1.{'B' * 43}", id="two hashes under one key id"),
        pytest.param(f"{KEY_1},{KEY_2},k3.{'C' * 43}", id="three keys"),
        pytest.param(f"{KEY_1},", id="an open end"),
        pytest.param(f"{KEY_1},none", id="one key and none"),
        pytest.param(f"{KEY_1}\n", id="a line feed"),
        pytest.param(KEY_1[:-1], id="too short"),
        pytest.param(f"{KEY_1}=", id="padded"),
        pytest.param("A" * 43, id="no key id"),
        pytest.param(f"{'k' * 17}.{'A' * 43}", id="a long key id"),
        pytest.param("4111111111111111", id="a card number"),
    ],
)
def test_card_key_of_another_shape_is_refused(text):
    assert parse(message({**HANDOFF, "card_key": text})).reason is Reason.HANDOFF_INVALID


@pytest.mark.parametrize("key", ENTRIES)
@pytest.mark.parametrize("value", ["absent", "", "1.0", "-1", "1e3", "01", "a b", "9" * 17, "9007199254740992"])
def test_entry_that_is_absent_or_malformed_is_refused(key, value):
    query = parse(message({**HANDOFF, key: value}))
    accepted_as_name = {"merchant_id": {"1.0", "-1", "1e3", "01", "9" * 17, "9007199254740992"}}
    names = accepted_as_name["merchant_id"]
    if key in ("merchant_id", "operation", "sub_merchant") and value in names:
        assert isinstance(query, LimitQuery)  # a name of no merchant and no operation: refused by `match`
    elif key == "policy_revision" and value in ("9" * 17, "9007199254740992"):
        assert isinstance(query, LimitQuery)  # digits are hex too; the revision is only recorded
    else:
        assert isinstance(query, OverLimit)
        own = {"amount_minor": Reason.AMOUNT_INVALID, "currency": Reason.CURRENCY_UNKNOWN}
        assert query.reason is (Reason.HANDOFF_INVALID if value == "absent" else own.get(key, Reason.HANDOFF_INVALID))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(wire.RateLimitRequest(domain="tollhouse"), id="no descriptor"),
        pytest.param(message({}), id="no entries"),
        pytest.param(message(dict(reversed(HANDOFF.items()))), id="another order"),
        pytest.param(message({**HANDOFF, "more": "1"}), id="one entry more"),
        pytest.param(message({**HANDOFF, "handoff": "1"}), id="another version"),
        pytest.param(message({**HANDOFF, "amount_minor": "none"}), id="currency without amount"),
        pytest.param(message(hits_addend=5), id="hits"),
        pytest.param(message(descriptor=wire.RateLimitDescriptor(is_negative_hits=True)), id="negative hits"),
        pytest.param(message(descriptor=wire.RateLimitDescriptor(hits_addend={"value": 0})), id="a look"),
        pytest.param(
            message(descriptor=wire.RateLimitDescriptor(limit={"requests_per_unit": 9, "unit": 1})), id="an override"
        ),
    ],
)
def test_other_shape_in_our_domain_is_over_limit(request_):
    refusal = parse(request_)
    assert isinstance(refusal, OverLimit)
    assert refusal.reason is Reason.HANDOFF_INVALID


def test_two_descriptors_and_another_domain_are_over_limit():
    double = message()
    double.descriptors.append(double.descriptors[0])
    assert parse(double).reason is Reason.HANDOFF_INVALID
    assert parse(message(domain="other")).reason is Reason.DOMAIN_UNKNOWN


def render(verdict):
    data = render_rate_limit_response(verdict, decision_id="d" * 32, errors_uri="https://docs.test/errors")
    return wire.RateLimitResponse.FromString(data)


def test_over_limit_names_the_quota_and_the_status():
    state = QuotaState("daily_amount", 10**12, 10**12, 3600, is_over=True, is_shadow=False, is_per_second=False)
    response = render(OverLimit(Reason.QUOTA_EXCEEDED, state, (state,), retry_after_seconds=3600))
    assert response.overall_code == wire.RateLimitResponse.OVER_LIMIT
    assert [status.code for status in response.statuses] == [wire.RateLimitResponse.OVER_LIMIT]
    assert response.statuses[0].current_limit.requests_per_unit == 2**32 - 1
    body = orjson.loads(response.raw_body)
    assert (body["quota"], body["reason"], body["status"]) == ("daily_amount", "quota_exceeded", 429)
    assert response.dynamic_metadata.fields["http_status"].number_value == 429
    headers = {each.key: each.value for each in response.response_headers_to_add}
    assert headers["retry-after"] == "3600"
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("reason", list(Reason))
def test_no_refusal_of_any_reason_renders_as_ok(reason):
    assert render(OverLimit(reason)).overall_code == wire.RateLimitResponse.OVER_LIMIT


def test_within_limit_renders_ok_with_one_status():
    response = render(WithinLimit())
    assert response.overall_code == wire.RateLimitResponse.OK
    assert len(response.statuses) == 1


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_over_limit(data):
    assert isinstance(parse_rate_limit_request(data), LimitQuery | OverLimit)


IDENTITY = f"{'I' * 43}.{'D' * 43}"


def test_what_a_payment_is_counted_by_is_read():
    changes = {"sub_merchant": "s.1", "payer": f"{KEY_2},{KEY_1}", "device": "unread", "idempotency": IDENTITY}
    query = parse(message({**HANDOFF, **changes}))
    assert (query.sub_merchant, query.payers, query.devices, query.addresses) == ("s.1", (KEY_2, KEY_1), None, ())
    assert query.identity == ("I" * 43, "D" * 43)


def test_what_the_gate_did_not_look_for_is_not_none():
    entries = {**HANDOFF, **dict.fromkeys(("sub_merchant", "payer", "device", "ip"), "unread")}
    query = parse(message(entries))
    assert [query.sub_merchant, query.payers, query.devices, query.addresses] == [None] * 4


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"card_key": "unread"}, id="a card is always looked for"),
        pytest.param({"card_key": KEY_1, "payer": KEY_2}, id="other keys for card and payer"),
        pytest.param({"card_key": f"{KEY_1},{KEY_2}", "ip": KEY_1}, id="one key and two"),
        pytest.param({"idempotency": "unread"}, id="no identity"),
        pytest.param({"idempotency": IDENTITY[:-1]}, id="a short digest"),
        pytest.param({"idempotency": f"{IDENTITY}\n"}, id="a line feed"),
        pytest.param({"payer": "p-77"}, id="a payer as it is"),
    ],
)
def test_subject_of_another_shape_is_refused(changes):
    assert parse(message({**HANDOFF, **changes})).reason is Reason.HANDOFF_INVALID
