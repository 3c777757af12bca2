"""The last net: what is masked, and what must stay readable."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.masking import CARD, EMAIL, TOKEN, MaskingFilter, is_suspect, mask_text, mask_value

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("4111111111111111", CARD, id="a bare number"),
        pytest.param("card=4111-1111-1111-1111;", f"card={CARD};", id="hyphens"),
        pytest.param("paid 4111 1111 1111 1111 12/27", f"paid {CARD} 12/27", id="an expiry date behind it"),
        pytest.param("2024 4111 1111 1111 1111", f"2024 {CARD}", id="a year before it"),
        pytest.param("4111\u00a01111\u00a01111\u00a01111", CARD, id="no-break spaces"),
        pytest.param("378282246310005", CARD, id="15 digits"),
        pytest.param("order-4111111111111111", f"order-{CARD}", id="a word and a hyphen before it"),
        pytest.param("5555555555554444 and 4111111111111111", f"{CARD} and {CARD}", id="two of them"),
        pytest.param(f"Bearer {JWT}", f"Bearer {TOKEN}", id="a JWT"),
        pytest.param(f"x{JWT}", f"x{TOKEN}", id="a JWT inside a word"),
        pytest.param("authorization: bearer 0123456789abcdef-opaque", f"authorization: bearer {TOKEN}", id="opaque"),
        pytest.param("from jane.doe+x@mail.example.test now", f"from {EMAIL} now", id="an e-mail address"),
        pytest.param("redis://user:secret@store.test:6379", "redis://[masked]@store.test:6379", id="URL credentials"),
    ],
)
def test_secret_in_text_is_masked(text: str, masked: str):
    assert mask_text(text) == masked
    assert is_suspect(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("4111111111111112", id="no Luhn number"),
        pytest.param("411111111111", id="12 digits"),
        pytest.param("41111111111111111111111111", id="26 digits"),
        pytest.param("4111111111111111deadbeef41111111", id="a decision id that begins with digits"),
        pytest.param("41111111-1111-1111-4111-111111111111", id="a UUID of digits"),
        pytest.param("0000000000000000", id="zeros"),
        pytest.param("2026-03-04T05:06:07.890+00:00", id="a time"),
        pytest.param("quota daily-amount at 100% @ noon", id="an at sign"),
        pytest.param("Bearer token missing", id="words about tokens"),
        pytest.param("192.168.100.200:54321", id="an address and port"),
    ],
)
def test_harmless_text_stays(text: str):
    assert mask_text(text) == text


@given(st.integers(0, 10**18), st.sampled_from(["", " ", "-"]), st.text(max_size=8))
def test_every_luhn_number_is_masked_whatever_stands_around_it(number: int, separator: str, around: str):
    digits = f"4{number:018d}"[:15]
    total = sum(sum(divmod(int(digit) * 2, 10)) if place % 2 == 0 else int(digit) for place, digit in
                enumerate(reversed(digits)))  # fmt: skip
    full = f"{digits}{-total % 10}"
    written = separator.join(full[start : start + 4] for start in range(0, 16, 4))
    assert written not in mask_text(f"{around}|{written}|{around}")


@given(st.text())
def test_masked_text_stays_as_it_is_when_masked_again(text: str):
    once = mask_text(text)
    assert mask_text(once) == once


def test_value_is_masked_at_any_depth_and_in_names():
    value = {"a": ["4111111111111111", {"x@mail.example": (1, None, JWT)}], "n": 4111111111111111}
    assert mask_value(value) == {"a": [CARD, {EMAIL: [1, None, TOKEN]}], "n": 4111111111111111}


def test_log_message_is_masked_after_its_arguments_are_put_in():
    record = logging.makeLogRecord({"msg": "card %s%s", "args": ("41111111", "11111111")})
    assert MaskingFilter().filter(record)
    assert record.getMessage() == f"card {CARD}"


def test_log_message_whose_arguments_do_not_fit_passes():
    record = logging.makeLogRecord({"msg": "%d", "args": ("x",)})
    assert MaskingFilter().filter(record)
    assert "do not fit" in record.getMessage()


@given(st.text(st.sampled_from('0123456789 -\u00a0aAeyJ@.:/bBearRer"\\'), max_size=60))
def test_line_that_is_not_suspect_would_not_be_changed(text: str):
    if not is_suspect(text.encode()):
        assert mask_text(text) == text
