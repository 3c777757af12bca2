"""The compact reader: any text is read in one way or refused."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from extauthz.model import Deny
from extauthz.tokens.jose import CompactToken, decode_base64url, parse_compact
from helpers.issuer import SigningKey, b64, good_claims, mint

KEY = SigningKey("EdDSA")
TOKEN = mint(KEY, good_claims())
_texts = st.text("ABCDefgh0189-_.=+/ \n\u00e9", max_size=60)


@given(raw=st.binary(max_size=100))
def test_base64url_round_trip_returns_the_bytes(raw):
    if raw:
        assert decode_base64url(b64(raw)) == raw


@given(text=st.text("ABCDwxyz0189-_=+/ \n", max_size=12))
def test_base64url_has_one_text_for_the_same_bytes(text):
    raw = decode_base64url(text)
    assert raw is None or b64(raw) == text


@given(text=_texts)
def test_parse_any_text_is_refused_with_a_fixed_detail(text):
    decision = parse_compact(text)
    assert isinstance(decision, Deny)
    assert decision.detail in {
        "not three parts",
        "part too long",
        "header or signature not readable",
        "claims not readable",
    }


@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["ES256", "at+jwt", "k1", ""]),
        lambda inner: st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "cty", "x"]), inner, max_size=5),
        max_leaves=8,
    ),
    claims=st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3),
)
def test_parse_any_json_yields_a_token_only_with_a_usable_header(header, claims):
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(b's' * 64)}"
    parsed = parse_compact(text)
    if isinstance(parsed, CompactToken):
        assert isinstance(header["alg"], str)
        assert isinstance(header["typ"], str)
        assert isinstance(parsed.kid, str | None)
        assert not {"crit", "cty"} & header.keys()


@given(position=st.integers(0, len(TOKEN) - 1), character=st.sampled_from('AQz09-_.=+/ {"'))
def test_parse_altered_token_never_yields_the_same_parts_for_another_text(position, character):
    altered = TOKEN[:position] + character + TOKEN[position + 1 :]
    first, second = parse_compact(TOKEN), parse_compact(altered)
    assert isinstance(first, CompactToken)
    if altered != TOKEN and isinstance(second, CompactToken):
        assert (first.signing_input, first.signature) != (second.signing_input, second.signature)


def test_parse_good_token_returns_its_parts():
    parsed = parse_compact(TOKEN)
    assert isinstance(parsed, CompactToken)
    head, signature = TOKEN.rsplit(".", 1)
    assert (parsed.algorithm, parsed.token_type, parsed.kid) == ("EdDSA", "at+jwt", "k1")
    assert (parsed.signing_input, parsed.signature) == (head.encode(), base64.urlsafe_b64decode(signature + "=="))
    assert parsed.claims["sub"] == "merchant-service-1"


def test_parse_header_with_blanks_and_unknown_members_is_read():
    token = mint(KEY, good_claims(), typ="AT+JWT", x5t="abc", jku="https://as.example.test/keys")
    parsed = parse_compact(token)
    assert isinstance(parsed, CompactToken)
    assert parsed.token_type == "at+jwt"
