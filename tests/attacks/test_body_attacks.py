"""A body that the upstream could read as another payment than the one that was judged; each has an allowed twin."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from helpers.issuer import SigningKey
from helpers.services import gate, payment

KEY = SigningKey("ES256", "k1")
KP = {"country": "KP"}


@pytest_asyncio.fixture
async def running(tmp_path):
    async with gate(tmp_path, KEY) as service:
        yield service


def raw(text: str) -> bytes:
    """Return a good payment with `text` as a further member."""
    return json.dumps(payment()).encode()[:-1] + b"," + text.encode() + b"}"


async def assert_refused(running, reason, body, twin):
    assert await running.reason(running.token(), body=body) == reason
    assert await running.reason(running.token(), body=twin) == "allow"


@pytest.mark.parametrize(
    "member",
    [
        pytest.param('"Amount":{"minor_units":9,"currency":"EUR"}', id="capital letter"),
        pytest.param('"AMOUNT":null', id="capitals, null"),
        pytest.param('"merchant_ID":"m_rate"', id="another merchant"),
        pytest.param('"Card":{"country":"KP"}', id="alone, so that no rule reads it"),
        pytest.param('"card":{"Country":"KP"}', id="one level down"),
        pytest.param('"\\u212Aard":1,"\\u0043ard":{"country":"KP"}', id="escaped"),
        pytest.param('"\\u017Fhipping":{"country":"KP"}', id="long s, which folds to s"),
        pytest.param('"amount\\u0000":{"minor_units":9}', id="ends early for C strings"),
    ],
)
async def test_member_that_folds_to_a_name_of_the_profile_is_refused(running, member):
    await assert_refused(running, "body_unreadable", raw(member), raw('"metadata":{"Amount":1,"Card":2},"Note":"x"'))


@pytest.mark.parametrize(
    ("member", "twin"),
    [
        pytest.param({"card": {"country": "DE", "funding": "Prepaid"}}, {"card": {"funding": "prepaid"}}, id="funding"),
        pytest.param({"initiator": "MIT"}, {"initiator": "mit", "reference": "a 1"}, id="initiator"),
        pytest.param({"initiator": "moto"}, {"initiator": "cit"}, id="initiator that nobody declared"),
        pytest.param({"device": {"id": "d1\ufe0f"}}, {"device": {"id": "d1"}}, id="variation selector"),
        pytest.param({"device": {"id": "d\u3164"}}, {"device": {"id": "d"}}, id="Hangul filler"),
        pytest.param({"device": {"id": "d\u034f1"}}, {"device": {"id": "d1"}}, id="grapheme joiner"),
        pytest.param({"device": {"id": "d\u200b1"}}, {"device": {"id": "d1"}}, id="zero width space"),
        pytest.param({"device": {"id": "d1 "}}, {"device": {"id": "d 1"}}, id="blank at the end"),
        pytest.param({"payee": {"account": "Ame\u0301lie"}}, {"payee": {"account": "Am\u00e9lie"}}, id="not composed"),
        pytest.param({"payer": {"ip": "2001:DB8::1"}}, {"payer": {"ip": "2001:db8::1"}}, id="address in capitals"),
        pytest.param({"payer": {"ip": "::ffff:192.0.2.1"}}, {"payer": {"ip": "192.0.2.1"}}, id="IPv4 as IPv6"),
        pytest.param({"payer": {"ip": "192.0.2.01"}}, {"payer": {"ip": "192.0.2.1"}}, id="leading zero"),
    ],
)
async def test_text_in_a_second_spelling_is_refused(running, member, twin):
    await assert_refused(running, "attribute_invalid", payment(**member), payment(**twin))


@pytest.mark.parametrize(
    "text",
    [
        '{"merchant_id":"m_active","amount":{"minor_units":1,"currency":"EUR"},"\\u0061mount":{"minor_units":2}}',
        '{"merchant_id":"m_active","amount":{"minor_units":1,"minor_unit\\u0073":2,"currency":"EUR"}}',
    ],
)
async def test_escaped_duplicate_is_a_duplicate(running, text):
    await assert_refused(running, "body_unreadable", text.encode(), payment())


async def test_escaped_name_is_the_name(running):
    text = '{"\\u006derchant_id":"m_active","amount":{"minor_units":1,"currency":"EUR"},"\\u0063ard":{"country":"KP"}}'
    assert await running.reason(running.token(), body=text.encode()) == "payment-blocked"


async def test_charset_with_half_a_quote_is_refused(running):
    for charset, reason in (('"utf-8', "body_unreadable"), ('utf-8"', "body_unreadable"), ('"utf-8"', "allow")):
        headers = {"content-type": f"application/json; charset={charset}"}
        assert await running.reason(running.token(), headers=headers) == reason
