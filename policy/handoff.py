"""The hand-off contract between ext_authz and the rate-limit service.

extauthz answers with dynamic metadata, Envoy turns it into one descriptor, ratelimit reads it.
Both services and the test that reads envoy/tollhouse.yaml use these names and no others. Whoever
needs another entry raises `VERSION`; each side refuses a number it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

DOMAIN = "tollhouse"
VERSION = "1"

METADATA_NAMESPACE = "envoy.filters.http.ext_authz"
"""Where Envoy keeps the dynamic metadata of the ext_authz filter."""

ENTRIES = (
    "handoff",
    "merchant_id",
    "operation",
    "currency",
    "amount_minor",
    "card_key",
    "decision_id",
    "policy_revision",
)
"""The descriptor's keys in their order; `handoff` is a generic_key, the rest come from metadata."""

METADATA_ENTRIES = ENTRIES[1:]

ABSENT = "absent"
"""What Envoy writes (`default_value`) when the metadata lacks the value: always refused."""

NONE = "none"
"""What extauthz writes where a value does not apply to the operation."""

MAX_CARD_KEYS: Final = 2
"""The current key and, during a rotation, one other: both services count under each."""

_CARD_KEY: Final = r"([a-z0-9-]{1,16})\.[A-Za-z0-9_-]{43}"
_CARD_KEYS: Final = re.compile(rf"{_CARD_KEY}(?:,{_CARD_KEY})?\Z")


def write_card_keys(card_keys: Iterable[str]) -> str:
    """Return the entry `card_key`: the card's key under the current secret first, or `none` without a card."""
    return ",".join(card_keys) or NONE


def read_card_keys(text: str) -> tuple[str, ...] | None:
    """Read the entry `card_key`.

    Each card key is `<key id>.<base64url of 32 bytes>` (HMAC-SHA-256, see `extauthz/card_keys.py`).

    Returns:
        One card key, two of different key ids, none at all for `none`; None for any other text.
    """
    if text == NONE:
        return ()
    found = _CARD_KEYS.match(text)
    if found is None or found[1] == found[2]:
        return None
    return tuple(text.split(","))
