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
from helpers.signing import ADDRESS, ALGORITHMS, COMPONENTS, SigningClient
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


@pytest.mark.parametrize(
    "component",
    [
        "@request-target",
        '"@query-param";name="x"',
        '"content-type";sf',
        '"content-type";bs',
        '"content-digest";key="sha-256"',
    ],
)
async def test_component_that_is_not_understood_is_refused(gate, component):
    how = {"url": f"{ADDRESS}?x=1", "components": (*COMPONENTS, component)}
    assert await gate.reason(gate.signed(**how), path="/v1/payments?x=1") == "signature_invalid"
    twin = {**how, "components": COMPONENTS}
    assert await gate.reason(gate.signed(**twin), path="/v1/payments?x=1") == "allow"


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


def digest(name: str, body: bytes) -> str:
    computed = hashlib.new(name.replace("-", ""), body).digest()
    return f"{name}=:{base64.b64encode(computed).decode()}:"


async def test_digests_that_are_known_are_all_checked(gate):
    good, other = digest("sha-256", gate.body), digest("sha-512", DEARER)
    cases = {
        good: "allow",
        digest("sha-512", gate.body): "allow",
        f"{good}, {digest('sha-512', gate.body)}": "allow",
        f"{good}, {other}": "content_digest_mismatch",
        f"{good}, unixsum=:AAAA:": "allow",
        "md5=:AAAA:": "content_digest_mismatch",
        f"{good};x=1": "content_digest_mismatch",
        good.replace(":", '"'): "content_digest_mismatch",
        f"{good}, {good}": "content_digest_mismatch",
        "sha-256": "content_digest_mismatch",
    }
    for value, expected in cases.items():
        headers = {**gate.headers(), "content-digest": value}
        signed = sign_raw(gate, headers)
        assert await gate.reason(signed) == expected, value
    reason, status, told = await gate.refusal(sign_raw(gate, {**gate.headers(), "content-digest": other}))
    assert (reason, status) == ("content_digest_mismatch", 400)
    assert told["want-content-digest"] == "sha-256=10, sha-512=9"
    assert "www-authenticate" not in told


def sign_raw(gate, headers, parameters=None, listed=None, *, label="sig1", covered=COMPONENTS):
    """Sign by hand what no library would sign."""
    given = (
        parameters
        if parameters is not None
        else f';created={int(time.time())};keyid="shop-key-1";nonce="{time.time_ns()}"'
    )
    names = listed if listed is not None else " ".join(f'"{name}"' for name in covered)
    line = f"({names}){given}"
    values = {"@method": "POST", "@target-uri": ADDRESS, **headers}
    base = "\n".join([*(f'"{name}": {values[name]}' for name in covered), f'"@signature-params": {line}'])
    text = base64.b64encode(gate.client.key.sign(base.encode())).decode()
    return {**headers, "signature-input": f"{label}={line}", "signature": f"{label}=:{text}:"}


def digested(gate):
    return {**gate.headers(), "content-digest": digest("sha-256", gate.body)}


@pytest.mark.parametrize(
    ("parameters", "is_taken"),
    [
        (';created={now};keyid="shop-key-1";nonce="{nonce}"', True),
        (';nonce="{nonce}";keyid="shop-key-1";alg="ecdsa-p256-sha256";created={now}', True),
        (';created={now};keyid="shop-key-1";nonce="{nonce}";alg="ed25519"', False),
        (';created={now};keyid="shop-key-1";nonce="{nonce}";alg=ecdsa-p256-sha256', False),
        (';created={now};keyid="shop-key-1";nonce="{nonce}";extra=1', False),
        (';created={now};keyid="shop-key-1";nonce="{nonce}";nonce="{nonce}"', False),
        (';created={now}.0;keyid="shop-key-1";nonce="{nonce}"', False),
        (';created="{now}";keyid="shop-key-1";nonce="{nonce}"', False),
        (';created=@{now};keyid="shop-key-1";nonce="{nonce}"', False),
        (';created;keyid="shop-key-1";nonce="{nonce}"', False),
        (';created={now};keyid="shop-key-1";nonce=:AAAA:', False),
        (';created={now};keyid="shop-key-1";nonce=abc', False),
        (';created={now};keyid="nobody";nonce="{nonce}"', False),
        (';created={now};nonce="{nonce}"', False),
        (';keyid="shop-key-1";nonce="{nonce}"', False),
        (';created={now};keyid="shop-key-1";nonce="{nonce}";expires="9"', False),
    ],
)
async def test_parameters_are_taken_as_they_are_defined_or_not_at_all(gate, parameters, is_taken):
    given = parameters.format(now=int(time.time()), nonce=time.time_ns())
    expected = "allow" if is_taken else "signature_invalid"
    assert await gate.reason(sign_raw(gate, digested(gate), given)) == expected


async def test_component_that_stands_twice_is_refused(gate):
    headers = sign_raw(gate, digested(gate), covered=(*COMPONENTS, "@method"))
    assert await gate.reason(headers) == "signature_invalid"
    tokens = sign_raw(gate, digested(gate), listed='@method "@target-uri" "authorization" "content-digest"')
    assert await gate.reason(tokens) == "signature_invalid"


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


@pytest.mark.parametrize(
    "changed",
    [
        {"signature-input": "sig1"},
        {"signature-input": "sig1=1"},
        {"signature-input": "sig1=()"},
        {"signature-input": ""},
        {"signature-input": "sig1=(" + '"a" ' * 2000 + ")"},
        {"signature-input": "a=1," * 40},
        {"signature-input": "é"},
        {"signature": "sig1=1"},
        {"signature": "sig1=:AAAA:;x"},
        {"signature": "other=:AAAA:"},
        {"signature": "SIG1=:AAAA:"},
    ],
)
@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_fields_that_are_no_signature_are_refused(gate, changed, raw_headers):
    assert await gate.reason({**gate.signed(), **changed}, raw_headers=raw_headers) == "signature_invalid"


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
