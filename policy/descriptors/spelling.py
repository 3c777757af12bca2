"""What a plain scalar stands for in YAML 1.1, as the Go loader of envoyproxy/ratelimit (yaml.v2, `resolve`) sees it.

Only what is checked by kind asks this: keys, values and domains keep their spelling whatever it would stand for.
"""

from __future__ import annotations

import math
import re
from typing import Final

from policy.descriptors.nodes import Scalar

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_FLOAT_WORDS: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER: Final = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|0[oO]?(?P<octal>[0-7]+)|(?P<decimal>0|[1-9][0-9]*))"
)
_BASES: Final = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
_MAX_DIGITS: Final = 300

PLAIN_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
"""The one spelling of a number that nobody reads in another way."""

Value = str | int | float | bool | None


def stands_for(node: Scalar) -> Value:
    """Return None, a bool, an int below 2**63, a float or, for everything else, the text.

    A number that is too large for 64 bits is a float, as it is there.
    """
    text = node.text
    if not node.is_plain:
        return text
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _FLOAT_WORDS.fullmatch(text):
        return float(text.replace(".", "").lower())
    if not text[:1].isascii() or text[0] not in "+-.0123456789" or len(text) > _MAX_DIGITS:
        return text
    return _number(text)


def is_null(node: object) -> bool:
    """Tell whether a node says that there is nothing."""
    return isinstance(node, Scalar) and node.is_plain and node.text in _NULLS


def _number(text: str) -> str | int | float:
    bare = text.replace("_", "")
    match = _INTEGER.fullmatch(bare)
    if match:
        base = match.lastgroup or "decimal"
        number = int(f"{match['sign']}{match[base]}", _BASES[base])
        return number if -(2**63) <= number < 2**63 else float(number)
    # A leading dot is looked at without taking "_" out.
    spelled = text if text[0] == "." else bare
    if _FLOAT.fullmatch(spelled):
        number_ = float(spelled)
        return text if math.isinf(number_) else number_
    return text
