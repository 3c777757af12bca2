"""The quick patterns of common texts accept nothing that the careful check refuses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.payment import MAX_TEXT_LENGTH
from extauthz.spelling import is_one_spelling, plain_spelling
from policy.attributes import attribute_catalogue

TEXT_ATTRIBUTES = [
    attribute.name
    for attribute in attribute_catalogue().values()
    if attribute.type == "string" and attribute.is_from_body
]
NEAR_ADDRESSES = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}\n?", fullmatch=True)


@pytest.mark.parametrize("attribute", TEXT_ATTRIBUTES)
@given(data=st.data())
def test_what_is_plain_is_of_one_spelling(attribute, data):
    pattern = plain_spelling(attribute)
    text = data.draw(st.one_of(st.from_regex(pattern), st.text(max_size=300), NEAR_ADDRESSES))
    if pattern.match(text):
        assert 0 < len(text) <= MAX_TEXT_LENGTH
        assert is_one_spelling(attribute, text)


@given(NEAR_ADDRESSES | st.ip_addresses(v=4).map(str))
def test_every_ipv4_address_in_its_one_spelling_is_plain(text):
    try:
        is_canonical = str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        is_canonical = False
    assert (plain_spelling("payer.ip").match(text) is not None) == is_canonical


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n", "a\x00b", "caf\u00e9", "x" * 257])
def test_what_needs_a_closer_look_is_not_plain(text):
    assert plain_spelling("payer.id").match(text) is None
