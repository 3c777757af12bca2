"""Strict JSON: one reading or none."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict

LIMITS = JsonLimits(max_bytes=100_000, max_depth=32)

_scalars = st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.text(st.characters(codec="utf-8"))
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def _outcome(data: bytes) -> object:
    try:
        return parse_strict(data, LIMITS)
    except StrictJsonError as error:
        return error


@given(value=_values)
def test_parse_what_a_writer_wrote_returns_it(value):
    assert parse_strict(json.dumps(value).encode(), LIMITS) == value
    assert parse_strict(json.dumps(value, ensure_ascii=False).encode(), LIMITS) == value


@given(data=st.binary(max_size=200) | st.text('[]{}",:\\u0dD8e1.-+ntf\ud7ff', max_size=80).map(str.encode))
def test_parse_any_bytes_returns_what_json_says_or_an_error_without_the_input(data):
    outcome = _outcome(data)
    if isinstance(outcome, StrictJsonError):
        assert outcome.detail
        assert (outcome.__cause__, outcome.__context__) == (None, None)
    else:
        assert json.loads(data.decode(), parse_float=Decimal) == outcome


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b'{"a":1,"a":1}', "duplicate member"),
        (b'{"a":1,"\\u0061":2}', "duplicate member"),
        (b'[{"b":{"a":1,"a":2}}]', "duplicate member"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'"\xff"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\udc00":1}', "lone surrogate"),
        (b'["\\ud800\\ud800"]', "lone surrogate"),
        (b"NaN", "not a number"),
        (b"[Infinity]", "not a number"),
        (b"-Infinity", "not a number"),
        (b"1" * 21, "integer out of range"),
        (b"1e400", "number out of range"),
        (b"1e-400", "number out of range"),
        (b"1e99999999999999999999", "number out of range"),
        (b"0." + b"1" * 100, "number out of range"),
        (b"[" * 33 + b"]" * 33, "too deep"),
        (b"[" * 50_000, "too deep"),
        (b'"' + b"x" * 100_000 + b'"', "too long"),
        (b"{} {}", "not JSON"),
        (b"", "not JSON"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b"1.", "not JSON"),
        (b"'a'", "not JSON"),
        (b"[1,]", "not JSON"),
        (b'"\x01"', "not JSON"),
        (b"\x0c1", "not JSON"),
    ],
)
def test_parse_ambiguous_or_broken_is_refused(data, detail):
    with pytest.raises(StrictJsonError) as caught:
        parse_strict(data, LIMITS)
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"12345678901234567890", 12345678901234567890),
        (b"-12345678901234567890", -12345678901234567890),
        (b"0.10", Decimal("0.10")),
        (b"1e2", Decimal("1e2")),
        (b"1.0", Decimal("1.0")),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b' {"a" : [ ] } \n', {"a": []}),
        (b'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["', "[" * 40),
        (b'["\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]', ['"' + "[" * 38]),
        (b"[" * 32 + b"]" * 32, None),
        (b"[" + b"{}," * 40 + b"{}]", [{}] * 41),
    ],
)
def test_parse_strict_json_returns_the_value(data, value):
    parsed = parse_strict(data, LIMITS)
    if value is not None:
        assert parsed == value
        assert type(parsed) is type(value)


def test_parse_many_unterminated_strings_takes_one_pass():
    with pytest.raises(StrictJsonError):
        parse_strict(b"[" * 40 + b'"' + b'\\"' * 49_000, LIMITS)
