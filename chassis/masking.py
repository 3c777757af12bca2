"""The last net under everything that is written down: card numbers, tokens and addresses are masked.

Code never puts such values into a log line or a decision record on purpose; this module is for the day
it happens anyway. Called by the decision log and, as a `logging.Filter`, by every log handler.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

CARD: Final = "[masked card number]"
TOKEN: Final = "[masked token]"  # noqa: S105 - the mask, not a secret
EMAIL: Final = "[masked e-mail]"
USERINFO: Final = "://[masked]@"

_CARD_LENGTHS: Final = range(13, 20)  # ISO/IEC 7812-1 numbers in use

# A UUID is matched first, so that its digit groups are never taken for a card number; ids in plain hex
# are safe because a run must not touch a letter.
_DIGITS: Final = re.compile(
    r"(?<![0-9A-Za-z-])(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?![0-9A-Za-z-])"
    r"|(?<![0-9A-Za-z])(?P<run>[0-9]+(?:[ \u00a0-][0-9]+)*)(?![0-9A-Za-z])"
)
_GROUP: Final = re.compile(r"[0-9]+")
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}")
_BEARER: Final = re.compile(r"(?i)\b(bearer|dpop|basic)(\s+)[A-Za-z0-9._~+/=-]{16,}")
_USERINFO: Final = re.compile(r"://[^/\s@?#\"']{1,512}@")
_EMAIL: Final = re.compile(r"[^\s@<>()\[\]\"',;:=/\\]{1,64}@[^\W_](?:[\w-]{0,62}\.)+[\w-]{2,63}")

# Digits and what may stand between them become "0", everything else ".": plain searches instead of a regular
# expression, which would cost ten times as much on every record.
_SHAPE: Final = bytes(ord("0") if chr(byte).isdecimal() or byte in b" -\xc2\xa0" else ord(".") for byte in range(256))
_CARD_SHAPE: Final = b"0" * _CARD_LENGTHS[0]
_SHORTEST: Final = 6  # characters: a@b.cc


def is_suspect(line: bytes) -> bool:
    """Tell whether a UTF-8 line may hold anything that `mask_text` would change."""
    if b"@" in line or b"eyJ" in line or _CARD_SHAPE in line.translate(_SHAPE):
        return True
    lowered = line.lower()
    return b"bearer" in lowered or b"dpop" in lowered or b"basic" in lowered


def mask_text(text: str) -> str:
    """Return `text` with card numbers, tokens, e-mail addresses and URL credentials replaced.

    A card number is a run of 13 to 19 digits, alone or in groups set apart by one space or hyphen, that
    passes the Luhn check (ISO/IEC 7812-1 annex B) and touches no letter.
    """
    if "eyJ" in text:
        text = _JWT.sub(TOKEN, text)
    text = _BEARER.sub(rf"\1\2{TOKEN}", text)
    if "@" in text:
        text = _EMAIL.sub(EMAIL, _USERINFO.sub(USERINFO, text))
    return _DIGITS.sub(_mask_run, text)


def mask_value(value: Any, *, plain_fields: frozenset[str] = frozenset()) -> Any:
    """Return a JSON-like value with every string in it masked, names of members included.

    Args:
        value: Dictionaries, lists, tuples, strings, numbers; anything else is returned as it is.
        plain_fields: Members whose strings are left alone, for numbers in text such as counters.
    """
    if isinstance(value, str):
        return _mask_suspect(value)
    if isinstance(value, dict):
        return {
            _mask_suspect(name) if isinstance(name, str) else name: member
            if name in plain_fields
            else mask_value(member, plain_fields=plain_fields)
            for name, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_value(member, plain_fields=plain_fields) for member in value]
    return value


def _mask_suspect(text: str) -> str:
    """Mask a text of a record; one in fourteen records has a text with enough digits in a row, its others have not."""
    if len(text) < _SHORTEST or not is_suspect(text.encode("utf-8", "surrogatepass")):
        return text
    return mask_text(text)


class MaskingFilter(logging.Filter):
    """Masks the finished message of every log record; a formatter masks the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by its masked text; every record passes."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string must not raise into the caller
            message = f"{record.msg} (its arguments do not fit)"
        record.msg, record.args = mask_text(message), None
        return True


def _mask_run(match: re.Match[str]) -> str:
    run = match.group("run")
    if run is None or len(run) < _CARD_LENGTHS[0]:
        return match.group()
    groups = list(_GROUP.finditer(run))
    masked, position, first = [], 0, 0
    while first < len(groups):
        last = _card_end(groups, first)
        if last is None:
            first += 1
            continue
        masked += [run[position : groups[first].start()], CARD]
        position, first = groups[last].end(), last + 1
    return "".join([*masked, run[position:]])


def _card_end(groups: list[re.Match[str]], first: int) -> int | None:
    """Return the last group of a card number that begins with group `first`, if one does."""
    digits, found = "", None
    for last in range(first, len(groups)):
        digits += groups[last].group()
        if len(digits) > _CARD_LENGTHS[-1]:
            break
        if len(digits) in _CARD_LENGTHS and passes_luhn(digits):
            found = last  # the longest wins, so that nothing of the number stays behind
    return found


def passes_luhn(digits: str) -> bool:
    """Tell whether the last of these ASCII digits is the check digit of the rest (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0 and digits.strip("0") != ""
