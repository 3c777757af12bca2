"""What the fields of a signature may say, over the service as it runs: anything that is not understood is refused."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
import pytest_asyncio

from helpers.issuer import SigningKey
from helpers.signed_gate import signed_gate
from helpers.signing import ADDRESS, COMPONENTS

KEY = SigningKey("ES256", "k1")
DEARER = b'{"merchant_id": "m_active", "amount": {"minor_units": 99999, "currency": "EUR"}}'


@pytest_asyncio.fixture
async def gate(tmp_path):
    async with signed_gate(tmp_path, KEY) as gate:
        yield gate


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
