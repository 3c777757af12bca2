"""Oracles of the path, host and JSON readers: one reading that other readers share, or a refusal."""

from __future__ import annotations

import json
import posixpath
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.paths import MAX_PATH_LENGTH, MAX_SEGMENTS, canonical_host, canonical_path
from helpers.fuzzing.engine import Target

JSON_LIMITS = JsonLimits(max_bytes=1500, max_depth=12)
_NO_JSON = ("not JSON", "not UTF-8", "byte order mark", "not a number", "lone surrogate")
_ORJSON_INTEGERS = range(-(2**63), 2**64)


def run_path(data: bytes) -> None:
    """A canonical path reads as itself everywhere: to us, decoded, and once dot segments are resolved."""
    raw = data.decode("utf-8", "surrogateescape")
    path = canonical_path(raw)
    if path is None:
        return
    assert canonical_path(path) == path, "not a fixed point"
    assert path.startswith("/")
    assert path.isascii()
    assert len(path) <= MAX_PATH_LENGTH
    assert path.count("/") <= MAX_SEGMENTS
    assert not set(path) & set("?#;\\ \t\r\n\0")
    decoded = unquote(path, errors="surrogateescape")
    assert decoded.count("/") == path.count("/"), "an escape made a segment"
    assert unquote(decoded, errors="surrogateescape") == decoded, "decodes twice"
    assert "\\" not in decoded
    assert not any(ord(char) < 0x20 or ord(char) == 0x7F for char in decoded)
    resolved = posixpath.normpath(decoded)
    assert resolved + "/" * (decoded.endswith("/") and decoded != "/") == decoded, "a reader resolves segments"
    assert unquote(raw.partition("?")[0], errors="surrogateescape") == decoded, "the raw path decodes to another one"


def run_host(data: bytes) -> None:
    """A canonical host is the one an URL reader finds in the same authority."""
    raw = data.decode("utf-8", "surrogateescape")
    host = canonical_host(raw)
    if host is None:
        return
    assert canonical_host(host) == host, "not a fixed point"
    assert host == host.lower()
    assert host.isascii()
    assert not set(host) & set("/\\?#@%, \t\r\n\0")
    try:
        found = urlsplit(f"//{raw}").hostname
    except ValueError:
        return  # no IPv6 address in the brackets: it can equal no host of a policy
    assert found is not None
    assert found.removesuffix(".") == host.strip("[]"), "another host than an URL reader's"


def run_json(data: bytes) -> None:
    """What is read, orjson and json read alike; what is called no JSON, orjson refuses as well."""
    try:
        value = parse_strict(data, JSON_LIMITS)
    except StrictJsonError as error:
        detail = error.detail
    else:
        _check_read(value, data)
        return
    assert detail not in _NO_JSON or not _is_json(data), f"orjson reads what is refused as: {detail}"


def _check_read(value: Any, data: bytes) -> None:
    loose = json.loads(data, parse_float=Decimal, object_pairs_hook=_pairs)
    assert _same(value, loose), "json reads another value"
    if _is_json(data):
        assert _equal(value, orjson.loads(data)), "orjson reads another value"
    else:
        # The only texts that orjson alone refuses: fractions beyond a double's range.
        assert _has_extreme_number(value), "orjson refuses what is read"
    assert len(data) <= JSON_LIMITS.max_bytes
    assert _depth(value) <= JSON_LIMITS.max_depth


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), "a member stands twice"
    return dict(pairs)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and left == right


def _equal(left: Any, right: Any) -> bool:
    """Compare with orjson, whose numbers beyond 64 bits and with a fraction are doubles."""
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(_equal(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Decimal) or (type(left) is int and left not in _ORJSON_INTEGERS):
        return isinstance(right, float) and float(left) == right
    return type(left) is type(right) and left == right


def _has_extreme_number(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_extreme_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_extreme_number, value))
    return isinstance(value, Decimal) and abs(value.adjusted()) >= 308


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


PATH = Target(
    "path",
    run_path,
    ("extauthz/paths.py",),
    (b"/", b"//", b"/.", b"/..", b"%2e", b"%2F", b"%5c", b"%25", b"%00", b"%41", b";a=b", b"?", b"#", b"\\", b"%c3%a9"),
    2300,
)
HOST = Target(
    "host",
    run_host,
    ("extauthz/paths.py",),
    (b".", b":", b"..", b".:", b"[", b"]", b"[::1]", b"@", b":80", b":99999", b"%", "\u212a".encode(), b"xn--", b"A"),
    300,
)
JSON = Target(
    "json",
    run_json,
    ("chassis/strict_json.py",),
    (
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\u0000",
        b"\\ud800",
        b"\\uDC00",
        b"\\",
        b"null",
        b"true",
        b"NaN",
        b"-0",
        b"1e5",
        b"0.1",
        b"E+",
        b"-Infinity",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b'"a":1,',
        b" ",
        b"\x0b",
        b"\xc2\xa0",
        b"[[[[[[[[[[[[[",
        "\u2028".encode(),
    ),
    1600,
)
