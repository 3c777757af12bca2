"""Strict JSON: one reading of the bytes, or none (RFC 8259; RFC 8725 section 3.7).

Whoever reads JSON from outside reads it here: token headers and claims, request bodies, issuer
documents. Its law: bytes that two readers could understand differently are refused, and nothing
of the input is in the error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

MAX_INTEGER_DIGITS = 20
"""Longest integer, enough for every unsigned 64-bit value."""
MAX_DECIMAL_CHARACTERS = 64
MAX_DECIMAL_EXPONENT = 308
"""Largest power of ten of a fraction: the range of a double (RFC 8259 section 6)."""

_WHITESPACE = " \t\n\r"  # RFC 8259 section 2
_BYTE_ORDER_MARK = "\ufeff"
# Possessive, so that an unterminated string costs one pass and no backtracking.
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_OPENING = frozenset("[{")
_CLOSING = frozenset("]}")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """Bounds that are checked before anything is built.

    Attributes:
        max_bytes: Longest document.
        max_depth: Deepest nesting of arrays and objects; a scalar has depth 0.
    """

    max_bytes: int
    max_depth: int = 32


class StrictJsonError(ValueError):
    """The bytes are not strict JSON.

    Attributes:
        detail: One of a few fixed texts, never a part of the input.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def parse_strict(data: bytes, limits: JsonLimits) -> Any:
    """Read one JSON document.

    Integers come back as `int`; numbers written with a fraction or an exponent as
    `decimal.Decimal`, so that no digit is lost.

    Raises:
        StrictJsonError: Too long or too deep, not UTF-8, a byte order mark, a member named twice,
            a lone surrogate, `NaN` or `Infinity`, a number out of range, trailing data, or no JSON.
    """
    if len(data) > limits.max_bytes:
        raise StrictJsonError("too long")
    text = _decode(data)
    _check_depth(text, limits.max_depth)
    value, detail = _parse(text)
    if detail:
        # Raised here and not in the except block: a JSONDecodeError carries the document.
        raise StrictJsonError(detail)
    if _SURROGATE_ESCAPE.search(text) and _has_lone_surrogate(value):
        raise StrictJsonError("lone surrogate")
    return value


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise StrictJsonError("not UTF-8")
    if text.startswith(_BYTE_ORDER_MARK):
        raise StrictJsonError("byte order mark")
    return text


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        character = found.group()[0]
        if character in _OPENING:
            depth += 1
            if depth > max_depth:
                raise StrictJsonError("too deep")
        elif character in _CLOSING:
            depth -= 1


def _parse(text: str) -> tuple[Any, str]:
    document = text.strip(_WHITESPACE)
    try:
        value, end = _DECODER.raw_decode(document)
    except StrictJsonError as error:
        return None, error.detail
    except (ValueError, RecursionError):
        return None, "not JSON"
    return (value, "") if end == len(document) else (None, "not JSON")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("duplicate member")
    return members


def _integer(text: str) -> int:
    if len(text) - text.startswith("-") > MAX_INTEGER_DIGITS:
        raise StrictJsonError("integer out of range")
    return int(text)


def _decimal(text: str) -> Decimal:
    # The exponent's own digits are capped first: decimal refuses absurd ones with an exception of its own.
    _, _, exponent = text.lower().partition("e")
    if len(text) > MAX_DECIMAL_CHARACTERS or len(exponent) > 5:
        raise StrictJsonError("number out of range")
    number = Decimal(text)
    if abs(number.adjusted()) > MAX_DECIMAL_EXPONENT:
        raise StrictJsonError("number out of range")
    return number


def _constant(_: str) -> NoReturn:
    raise StrictJsonError("not a number")


def _has_lone_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_has_lone_surrogate(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_lone_surrogate(item) for item in value)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)
