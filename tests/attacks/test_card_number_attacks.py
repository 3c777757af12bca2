"""A card number comes out nowhere, neither in an answer, record, log, metric or page, and it has one spelling."""

from __future__ import annotations

import json
import logging

import pytest
import pytest_asyncio
from prometheus_client import generate_latest

from chassis.clock import SystemClock
from extauthz.servicer import CHECK_METHOD
from helpers.cards import OTHER_CARD, TEST_CARD, write_card_keys_file
from helpers.issuer import SigningKey
from helpers.services import check_bytes, gate, limiter, payment, should_rate_limit
from policy.card_keys import read_card_keys_file
from policy.handoff import ENTRIES, NONE, UNREAD, VERSION

KEY = SigningKey("ES256", "k1")


@pytest_asyncio.fixture
async def running(tmp_path):
    async with gate(tmp_path, KEY) as service:
        yield service


def card(**members):
    return payment(card={"number": TEST_CARD, **members})


def with_card(text: str) -> bytes:
    """Return a good payment with `text` as its card."""
    return (json.dumps(payment())[:-1] + f', "card": {text}}}').encode()


BODIES = [
    pytest.param(card(), "allow", id="a plain payment"),
    pytest.param(card(country="KP"), "payment-blocked", id="declined by a rule"),
    pytest.param(payment(card={"number": TEST_CARD[:-1] + "2"}), "card_number_invalid", id="a wrong check digit"),
    pytest.param(payment(card={"number": int(TEST_CARD)}), "card_number_invalid", id="a number instead of text"),
    pytest.param(card(bin=TEST_CARD), "attribute_invalid", id="the number where the BIN belongs"),
    pytest.param(card(bin="411111", last4="1111"), "allow", id="with its own parts"),
    pytest.param(card(bin="555555"), "attribute_invalid", id="the BIN of another card"),
    pytest.param(card(bin="41111112"), "attribute_invalid", id="a BIN that begins alike"),
    pytest.param(card(last4="4444"), "attribute_invalid", id="the last digits of another card"),
    pytest.param(card(brand=TEST_CARD), "attribute_invalid", id="the number where the brand belongs"),
    pytest.param({**card(), "merchant_id": TEST_CARD}, "merchant_mismatch", id="the number where the merchant belongs"),
    pytest.param(with_card(f'{{"number": "{TEST_CARD}", "number": "x"}}'), "body_unreadable", id="twice"),
    pytest.param(with_card(f'{{"number": "{TEST_CARD}"'), "body_unreadable", id="a body cut off"),
    pytest.param(with_card(f'{{"Number": "{TEST_CARD}"}}'), "body_unreadable", id="a capital letter"),
]


@pytest.mark.parametrize(("body", "reason"), BODIES)
async def test_number_leaves_extauthz_in_no_way(running, caplog, body, reason):
    caplog.set_level(logging.DEBUG)
    response = await running.check(running.token(), body=body)
    metrics = generate_latest(running.service.registry)
    pages = json.dumps([running.service.policy_status(), repr(running.service.readiness())])
    await running.service.stop()  # flushes the decision log
    record = running.log.read_text()
    assert f'"reason":"{reason}"' in record
    for text in (str(response), metrics.decode(), pages, caplog.text, record):
        assert TEST_CARD not in text
        assert TEST_CARD[:-1] not in text


async def test_fault_while_the_number_is_at_hand_tells_nothing_of_it(running, caplog, monkeypatch):
    def fail(_digits: str) -> bool:
        raise RuntimeError("a fault")

    monkeypatch.setattr("extauthz.payment.is_card_number", fail)
    deadline = SystemClock().monotonic() + 5.0
    data = check_bytes(running.token(), body=card())
    answer = await running.service.methods[CHECK_METHOD](data, deadline)
    assert b"internal_error" in answer
    assert TEST_CARD not in caplog.text
    assert TEST_CARD.encode() not in answer


SPELLINGS = [
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    " 4111111111111111",
    "4111111111111111\n",
    "4111111111111111\u200b",
    "04111111111111111",
    "00004111111111111111",
    "\uff14111111111111111",
    "4111111111111111.0",
    "4.111111111111111e15",
]


@pytest.mark.parametrize("number", SPELLINGS)
async def test_other_spelling_of_a_number_is_no_second_card(running, number):
    """Each would have a keyed hash, and so a counter, of its own."""
    assert await running.reason(running.token(), body=payment(card={"number": number})) == "card_number_invalid"
    assert await running.reason(running.token(), body=card()) == "allow"


@pytest.mark.parametrize(
    "member",
    [f'"Card":{{"number":"{OTHER_CARD}"}}', f'"CARD":{{"number":"{OTHER_CARD}"}}', f'"card\\u0000":"{OTHER_CARD}"'],
)
async def test_second_card_that_a_lenient_upstream_charges_is_refused(running, member):
    body = json.dumps(card()).encode()[:-1] + b"," + member.encode() + b"}"
    assert await running.reason(running.token(), body=body) == "body_unreadable"


def _handed_over(merchant_id: str) -> dict[str, str]:
    """Return the hand-off of a payment, all but its card."""
    known = {
        "handoff": VERSION,
        "merchant_id": merchant_id,
        "operation": "create_payment",
        "currency": "EUR",
        "amount_minor": "100",
        "idempotency": NONE,
        "decision_id": "d" * 32,
        "policy_revision": "a" * 16,
    }
    return {**dict.fromkeys(ENTRIES, UNREAD), **known}


@pytest.mark.parametrize(
    "value",
    [
        TEST_CARD,
        "",
        "absent",
        "k1.",
        f"k1.{TEST_CARD}",
        "none,none",
        f"k1.{'A' * 43},k2.{'B' * 43},k3.{'C' * 43}",
    ],
)
async def test_limiter_takes_nothing_but_keyed_hashes_for_a_card(tmp_path, caplog, value):
    caplog.set_level(logging.DEBUG)
    values = _handed_over("m_active")
    async with limiter(tmp_path) as service:
        refused = await should_rate_limit(service, {**values, "card_key": value})
        keyed = read_card_keys_file(str(write_card_keys_file(tmp_path / "card.keys"))).card_keys(TEST_CARD)
        twin = await should_rate_limit(service, {**values, "card_key": keyed[0]})
    assert (refused.overall_code, twin.overall_code) == (refused.OVER_LIMIT, twin.OK)
    assert refused.dynamic_metadata.fields["reason"].string_value == "handoff_invalid"
    assert TEST_CARD not in caplog.text + str(refused) + (tmp_path / "limits.jsonl").read_text()


async def test_card_without_room_left_is_refused_and_another_card_is_not(tmp_path):
    keyring = read_card_keys_file(str(write_card_keys_file(tmp_path / "card.keys")))
    values = _handed_over("m_small")
    async with limiter(tmp_path) as service:

        async def pay(number: str) -> int:
            answer = await should_rate_limit(service, {**values, "card_key": ",".join(keyring.card_keys(number))})
            return answer.overall_code

        codes = [await pay(TEST_CARD) for _ in range(3)]
        assert codes[0] == codes[1] != codes[2]
        assert await pay(OTHER_CARD) == codes[0]
