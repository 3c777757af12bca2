"""Signed payments with Envoy's bytes, over the service as it runs (RFC 9421, RFC 9530); a second library signs."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
import pytest_asyncio

from chassis.service import StartRefused
from helpers.bound_gate import as_envoy, headers_of, records
from helpers.dpop import P256_ORDER
from helpers.issuer import SigningKey
from helpers.services import check_bytes, payment, reason_of
from helpers.signed_gate import signed_gate
from helpers.signing import ALGORITHMS, COMPONENTS, SigningClient
from helpers.waiting import until
from protos import envoy_wire_pb2 as wire

KEY = SigningKey("ES256", "k1")
DEARER = json.dumps(payment(amount={"minor_units": 99999, "currency": "EUR"})).encode()


@pytest_asyncio.fixture
async def gate(tmp_path):
    async with signed_gate(tmp_path, KEY) as gate:
        yield gate


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_signed_payment_passes_in_both_encodings(gate, raw_headers):
    assert await gate.reason(gate.signed(), raw_headers=raw_headers) == "allow"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_passes_and_another_key_does_not(tmp_path, algorithm):
    async with signed_gate(tmp_path, KEY, algorithm=algorithm) as gate:
        assert await gate.reason(gate.signed()) == "allow"
        assert await gate.reason(gate.signed(include_alg=False)) == "allow"
        assert await gate.reason(gate.signed(client=SigningClient(algorithm))) == "signature_invalid"


async def test_unsigned_payment_is_told_what_to_sign(gate):
    reason, status, headers = await gate.refusal(gate.headers())
    assert (reason, status) == ("signature_missing", 401)
    assert headers["www-authenticate"].startswith('Bearer realm="tollhouse"')
    assert "error" not in headers["www-authenticate"]
    listed = " ".join(f'"{name}"' for name in COMPONENTS)
    assert headers["accept-signature"] == f"sig1=({listed});created;keyid"
    assert headers["want-content-digest"] == "sha-256=10, sha-512=9"


async def test_operation_that_demands_nothing_passes_unsigned(gate):
    read = {"method": "GET", "path": "/v1/payments/p1", "body": b""}
    headers = {"authorization": gate.headers()["authorization"]}
    assert await gate.reason(headers, **read) == "allow"


TAMPERED = {
    "method": ({}, {"method": "PUT"}, "route_unknown"),
    "host": ({}, {"host": "localhost"}, "signature_invalid"),
    "scheme": ({}, {"scheme": "http"}, "signature_invalid"),
    "path": ({}, {"path": "/v1/%70ayments"}, "signature_invalid"),
    "query": ({}, {"path": "/v1/payments?x=1"}, "signature_invalid"),
    "port": ({}, {"host": "payments.tollhouse.test:8443"}, "signature_invalid"),
    "body": ({}, {"body": DEARER}, "content_digest_mismatch"),
    "digest and body": (
        {"content-digest": f"sha-256=:{base64.b64encode(hashlib.sha256(DEARER).digest()).decode()}:"},
        {"body": DEARER},
        "signature_invalid",
    ),
    "digest": ({"content-digest": "sha-256=:AAAA:"}, {}, "signature_invalid"),
    "signature": ({"signature": "sig1=:AAAA:"}, {}, "signature_invalid"),
    "no signature": ({"signature": None}, {}, "signature_invalid"),
    "no input": ({"signature-input": None}, {}, "signature_invalid"),
    "no digest": ({"content-digest": None}, {}, "signature_invalid"),
}


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
@pytest.mark.parametrize("name", TAMPERED)
async def test_any_covered_part_that_is_changed_is_refused(gate, name, raw_headers):
    changed, more, expected = TAMPERED[name]
    signed = gate.signed()
    headers = {name: value for name, value in {**signed, **changed}.items() if value is not None}
    assert await gate.reason(headers, raw_headers=raw_headers, **more) == expected
    assert await gate.reason(signed, raw_headers=raw_headers) == "allow"


async def test_another_token_under_the_signature_is_refused(gate):
    signed = gate.signed()
    other = gate.headers(gate.token(jti="another"))["authorization"]
    assert await gate.reason({**signed, "authorization": other}) == "signature_invalid"


async def test_key_of_another_client_is_refused_and_taken_with_its_own_token(gate):
    assert await gate.reason(gate.signed(client=gate.other)) == "signature_invalid"
    headers = gate.headers(gate.token(client_id="shop-2"))
    assert await gate.reason(gate.other.sign(headers, gate.body)) == "allow"
    assert await gate.reason(gate.client.sign(headers, gate.body)) == "signature_invalid"


@pytest.mark.parametrize("missing", COMPONENTS)
async def test_what_must_be_covered_is(gate, missing):
    rest = [name for name in COMPONENTS if name != missing]
    headers = gate.signed()
    if missing == "content-digest":
        headers = {"content-digest": headers["content-digest"], **gate.signed(components=rest)}
    else:
        headers = gate.signed(components=rest)
    assert await gate.reason(headers) == "signature_invalid"


async def test_more_may_be_covered_in_any_order(gate):
    more = ("content-type", *reversed(COMPONENTS), "@authority", "@scheme", "@path", "@query")
    assert await gate.reason(gate.signed(components=more)) == "allow"


async def test_times_bound_a_signature(gate):
    now = time.time()
    for refused in (
        {"created": now - 65},
        {"created": now + 30},
        {"created": now - 20, "expires": now - 5},
    ):
        assert await gate.reason(gate.signed(**refused)) == "signature_invalid"
    for taken in ({"created": now - 40}, {"created": now + 5}, {"expires": now + 30}):
        assert await gate.reason(gate.signed(**taken)) == "allow"


async def test_nonce_is_demanded_and_passes_once(gate):
    assert await gate.reason(gate.signed(nonce="")) == "signature_invalid"
    assert await gate.reason(gate.signed(nonce="n" * 257)) == "signature_invalid"
    signed = gate.signed(nonce="once")
    assert await gate.reason(signed) == "allow"
    assert await gate.reason(signed) == "signature_invalid"
    assert await gate.reason(gate.signed(nonce="once")) == "signature_invalid"
    # Under another key it is another nonce.
    headers = gate.headers(gate.token(client_id="shop-2"))
    assert await gate.reason(gate.other.sign(headers, gate.body, nonce="once")) == "allow"


async def test_other_signature_of_the_same_text_is_the_same_signature(gate):
    signed = gate.signed()
    assert await gate.reason(signed) == "allow"
    raw = base64.b64decode(signed["signature"].removeprefix("sig1=:").removesuffix(":"))
    mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    again = {**signed, "signature": f"sig1=:{base64.b64encode(mirrored).decode()}:"}
    assert await gate.reason(again) == "signature_invalid"


async def test_refused_signature_is_not_used_up(gate):
    signed = gate.signed()
    assert await gate.reason(signed, body=DEARER) == "content_digest_mismatch"
    assert await gate.reason({**signed, "content-type": "text/plain", "authorization": "Bearer x.y.z"}) != "allow"
    assert await gate.reason(signed) == "allow"


async def test_request_that_envoy_asks_twice_about_is_no_replay(gate):
    message = as_envoy(check_bytes(headers=gate.signed(), body=gate.body))
    assert reason_of(await gate.call(message)) == "allow"
    assert reason_of(await gate.call(message)) == "allow"


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_part_of_a_body_is_413(gate, raw_headers):
    signed = gate.signed()
    more = {"body": gate.body[:-5], "raw_headers": raw_headers}
    cut = {**signed, "x-envoy-auth-partial-body": "true"}
    reason, status, _ = await gate.refusal(cut, **more)
    assert (reason, status) == ("signed_body_too_large", 413)
    reason, status, _ = await gate.refusal(signed, size=len(gate.body), **more)
    assert (reason, status) == ("signed_body_too_large", 413)
    assert await gate.reason(signed, body=b"", raw_headers=raw_headers) == "content_digest_mismatch"
    assert await gate.reason(signed, raw_headers=raw_headers) == "allow"


async def test_body_that_comes_as_text_is_the_same_body(gate):
    request = wire.CheckRequest.FromString(as_envoy(check_bytes(headers=gate.signed(), body=gate.body)))
    http = request.attributes.request.http
    http.body, http.raw_body = gate.body.decode(), b""
    assert reason_of(await gate.call(request.SerializeToString())) == "allow"


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_several_signatures_need_a_choice(gate, raw_headers):
    one = gate.signed()
    both = gate.client.sign(one, None, label="proxy", components=("@method",))
    assert await gate.reason(both, raw_headers=raw_headers) == "signature_invalid"
    twice = {**one, "signature-input": f"{one['signature-input']},{one['signature-input']}"}
    assert await gate.reason(twice, raw_headers=raw_headers) == "signature_invalid"
    twice = {**one, "signature": f"{one['signature']}, {one['signature']}"}
    assert await gate.reason(twice, raw_headers=raw_headers) == "signature_invalid"
    assert await gate.reason(one, raw_headers=raw_headers) == "allow"


@pytest.mark.parametrize(
    ("demand", "good", "bad"),
    [
        ("{label: pay}", {"label": "pay"}, {"label": "sig1"}),
        ("{tag: payments}", {"tag": "payments"}, {"tag": "others"}),
        ("{tag: payments}", {"tag": "payments", "label": "any"}, {}),
    ],
)
async def test_policy_chooses_the_signature(tmp_path, demand, good, bad):
    async with signed_gate(tmp_path, KEY, demand) as gate:
        assert await gate.reason(gate.signed(**good)) == "allow"
        assert await gate.reason(gate.signed(**bad)) == "signature_missing"
        # A proxy's own signature beside it changes nothing, and cannot stand in for it.
        beside = gate.other.sign(gate.signed(**good), None, label="proxy", components=("@method",))
        assert await gate.reason(beside) == "allow"
        _, _, headers = await gate.refusal(gate.headers())
        assert ('tag="payments"' in headers["accept-signature"]) is ("tag" in demand)
        assert headers["accept-signature"].startswith("pay=" if "label" in demand else "sig1=")


async def test_two_signatures_of_one_tag_are_none(tmp_path):
    async with signed_gate(tmp_path, KEY, "{tag: payments}") as gate:
        one = gate.signed(tag="payments")
        both = gate.client.sign(one, None, label="second", tag="payments", components=("@method",))
        assert await gate.reason(both) == "signature_invalid"


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_covered_header_that_came_twice_is_refused(tmp_path, raw_headers):
    demand = '{components: ["@method", "@target-uri", authorization, content-digest, idempotency-key]}'
    names = (*COMPONENTS, "idempotency-key")
    async with signed_gate(tmp_path, KEY, demand) as gate:

        def signed(value):
            return gate.client.sign(gate.headers(idempotency_key=value), gate.body, components=names)

        assert await gate.reason(signed("a, b"), raw_headers=raw_headers) == "allow"
        # What the client signed as one line is what Envoy makes of two.
        assert await gate.reason(signed("a,b"), raw_headers=raw_headers) == "signature_invalid"
        assert await gate.reason({**signed("a, b"), "idempotency-key": "a,b"}) == "signature_invalid"
        assert await gate.reason(gate.signed()) == "signature_invalid"


async def test_host_case_and_default_port_do_not_count(gate):
    assert await gate.reason(gate.signed(), host="Payments.Tollhouse.TEST:443") == "allow"


async def test_store_that_is_away_is_a_503(tmp_path):
    async with signed_gate(tmp_path, KEY, store=f"unix://{tmp_path}/nobody.sock") as gate:
        await until(lambda: gate.service.readiness().is_ready)
        response = await gate.send(gate.signed())
        assert reason_of(response) == "replay_store_unavailable"
        assert response.error_response.status.code == 503
        assert int(headers_of(response)["retry-after"]) > 0
        # What is wrong with the signature is said all the same.
        assert await gate.reason(gate.headers()) == "signature_missing"


async def test_set_that_demands_signatures_is_not_served_without_a_store(tmp_path):
    with pytest.raises(StartRefused, match="P093"):
        async with signed_gate(tmp_path, KEY, store=""):
            pass


async def test_bad_signatures_of_an_address_hold_it_up(gate):
    for _ in range(300):
        if await gate.reason(gate.headers()) == "authentication_failures":
            break
    assert await gate.reason(gate.signed()) == "authentication_failures"


async def test_nothing_of_signature_or_nonce_is_written_down(tmp_path):
    async with signed_gate(tmp_path, KEY) as gate:
        signed = gate.signed(nonce="a-nonce-of-the-client")
        for _ in range(2):
            await gate.send(signed)
    written = records(tmp_path)
    assert [(record["verdict"], record["reason"]) for record in written] == [
        ("allow", "allow"),
        ("deny", "signature_invalid"),
    ]
    text = str(written)
    assert not any(secret in text for secret in (signed["signature"], "a-nonce-of-the-client", "shop-key-1"))
