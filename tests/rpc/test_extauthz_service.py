"""extauthz as it runs, over the shipped policy set and a real issuer, called with Envoy's bytes."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.clock import SystemClock
from extauthz.servicer import CHECK_METHOD
from helpers.issuer import SigningKey
from helpers.services import check_bytes, edit, gate, payment, reason_of
from protos import decision_record_pb2
from protos import envoy_wire_pb2 as wire

KEY = SigningKey("ES256", "k1")


@pytest_asyncio.fixture
async def running(tmp_path):
    async with gate(tmp_path, KEY) as service:
        yield service


async def eventually(condition, seconds=10.0):
    deadline = SystemClock().monotonic() + seconds
    while not await condition():
        assert SystemClock().monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_good_payment_passes_in_both_header_encodings(running, raw_headers):
    response = await running.check(running.token(), raw_headers=raw_headers)
    assert reason_of(response) == "allow"
    assert "authorization" in response.ok_response.headers_to_remove
    fields = {name: value.string_value for name, value in response.dynamic_metadata.fields.items()}
    assert (fields["merchant_id"], fields["amount_minor"], fields["currency"]) == ("m_active", "1250", "EUR")
    assert fields["operation"] == "create_payment"


@pytest.mark.parametrize(
    ("claims", "http", "reason"),
    [
        ({"iat": 1_700_000_000, "exp": 1_700_000_300}, {}, "access_token_expired"),
        ({"aud": "https://other.test"}, {}, "access_token_audience"),
        ({"scope": "payments:read"}, {}, "insufficient_scope"),
        ({"merchant_id": "m_suspended"}, {}, "merchant_suspended"),
        ({"merchant_id": "m_ghost"}, {}, "merchant_unknown"),
        ({"merchant_id": None}, {}, "merchant_mismatch"),
        ({"merchant_id": ["m_active"]}, {}, "merchant_mismatch"),
        ({"merchant_id": "m_rate"}, {}, "merchant_mismatch"),
        ({}, {"body": payment(card={"country": "KP"})}, "payment-blocked"),
        ({}, {"body": {"merchant_id": "m_active"}}, "amount_missing"),
        ({}, {"body": b"{"}, "body_unreadable"),
        ({}, {"body": b'{"a":1,"a":2}'}, "body_unreadable"),
        ({}, {"path": "/v1/admin"}, "route_unknown"),
        ({}, {"path": "/v1/payments/../payments"}, "request_malformed"),
        ({}, {"host": "elsewhere.test"}, "route_unknown"),
    ],
)
async def test_payment_that_must_not_pass_is_refused_while_its_twin_passes(running, claims, http, reason):
    assert await running.reason(running.token(**claims), **http) == reason
    assert await running.reason(running.token()) == "allow"


async def test_body_of_a_caller_without_a_token_is_not_read(running):
    assert await running.reason(None, body=b"{") == "access_token_missing"


async def test_record_says_what_was_decided_in_the_fields_of_the_proto_and_nothing_secret(running):
    token = running.token()
    await running.check(token)
    await running.reason(token, body=payment(card={"country": "KP"}))
    await running.service.stop()
    records = [json.loads(line) for line in running.log.read_text().splitlines()]
    known = {field.name for field in decision_record_pb2.DecisionRecord.DESCRIPTOR.fields}
    assert all(set(record) <= known for record in records)
    assert [(each["verdict"], each["step"]) for each in records] == [("allow", "assess"), ("deny", "assess")]
    assert records[1]["rules"] == ["sanctioned_card_country"]
    assert token not in running.log.read_text()


async def test_record_masks_and_shortens_what_the_caller_chose(running):
    hostile = {"client_id": "payer@example.org\n{}", "sub": "payer@example.org"}
    await running.check(running.token(**hostile), headers={"x-request-id": "4111111111111111\n" + "x" * 50_000})
    await running.service.stop()
    text = running.log.read_text()
    assert len(text.splitlines()) == 1
    assert len(text) < 1_000
    assert "payer" not in text
    assert "4111111111111111" not in text


async def test_decision_log_that_takes_nothing_is_shown(running):
    running.log.mkdir()
    await running.check()

    async def is_shown():
        return "decision records are being lost" in running.service.readiness().warnings

    await eventually(is_shown)
    assert running.service.readiness().is_ready


async def test_reload_that_removes_an_audience_makes_the_next_request_401(running):
    token = running.token()
    assert await running.reason(token) == "allow"
    edit(running.policies / "providers.yaml", "https://payments.tollhouse.test", "https://new.tollhouse.test")

    async def refused():
        return await running.reason(token) == "access_token_audience"

    await eventually(refused)


async def test_reload_that_suspends_a_merchant_refuses_it_and_a_broken_set_keeps_the_last_good(running):
    token = running.token()
    merchants = running.policies / "merchants.yaml"
    good = merchants.read_text()
    merchants.write_text(good + "\n  - id: [\n")

    async def failed():
        return running.service.policy_status()["last_error"] is not None

    await eventually(failed)
    assert await running.reason(token) == "allow"
    suspended = "status: suspended\n    suspension: {owner: risk, reason: test}"
    merchants.write_text(good.replace("status: active", suspended, 1))

    async def refused():
        return await running.reason(token) == "merchant_suspended"

    await eventually(refused)


async def test_call_whose_deadline_has_passed_gets_no_verdict(running):
    response = await running.check(running.token(), deadline=SystemClock().monotonic() - 1.0)
    assert reason_of(response) == "deadline_exceeded"
    assert response.HasField("error_response")


async def test_fault_of_ours_is_a_503_without_its_text(running, caplog):
    servicer = running.service.methods[CHECK_METHOD].__self__
    servicer._tables = BrokenTables
    response = await running.check(running.token())
    assert reason_of(response) == "internal_error"
    assert "secret" not in str(response)
    assert "check failed" in caplog.text


class BrokenTables:
    """A snapshot that fails as soon as it is used."""

    revision = "broken"
    dpop_algorithms = ""
    resource_metadata = ""

    @property
    def routes(self):
        raise RuntimeError("secret")


async def test_issuer_that_never_answered_is_a_503_and_never_a_401(tmp_path):
    async with gate(tmp_path, KEY) as running:
        edit(running.policies / "providers.yaml", running.issuer.issuer, "http://127.0.0.1:9")

        token = running.token(iss="http://127.0.0.1:9")
        assert await running.reason(running.token()) == "allow"

        async def unavailable():
            return await running.reason(token) == "token_issuer_unavailable"

        await eventually(unavailable)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_bytes_get_an_answer_that_is_no_allow(running, data):
    base = check_bytes(None)
    position = data.draw(st.integers(0, len(base)))
    noise = data.draw(st.binary(max_size=40))
    message = data.draw(st.sampled_from([noise, base[:position] + noise + base[position:], base[:position]]))
    answer = await running.service.methods[CHECK_METHOD](message, SystemClock().monotonic() + 5.0)
    assert wire.CheckResponse.FromString(answer).status.code != 0
