"""The hand-off contract between ext_authz and the rate-limit service.

extauthz answers with dynamic metadata, Envoy turns it into one descriptor, ratelimit reads it.
Both services and the test that reads envoy/tollhouse.yaml use these names and no others. Whoever
needs another entry raises `VERSION`; each side refuses a number it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

DOMAIN = "tollhouse"
VERSION = "2"

METADATA_NAMESPACE = "envoy.filters.http.ext_authz"
"""Where Envoy keeps the dynamic metadata of the ext_authz filter."""

ENTRIES = (
    "handoff",
    "merchant_id",
    "operation",
    "currency",
    "amount_minor",
    "card_key",
    "sub_merchant",
    "payer",
    "device",
    "ip",
    "idempotency",
    "decision_id",
    "policy_revision",
)
"""The descriptor's keys in their order; `handoff` is a generic_key, the rest come from metadata."""

METADATA_ENTRIES = ENTRIES[1:]

ABSENT = "absent"
"""What Envoy writes (`default_value`) when the metadata lacks the value: always refused."""

NONE = "none"
"""What extauthz writes where a value does not apply to the operation."""

UNREAD: Final = "unread"
"""What extauthz writes where its policy counts nothing by a value, so that it did not look for it.

Not `none`: a limiter whose policy does count by it, one revision ahead, must not take it for a payment without one.
"""

SUB_MERCHANT: Final = re.compile(rf"(?!(?:{ABSENT}|{NONE}|{UNREAD})\Z)[A-Za-z0-9_.-]{{1,64}}\Z")
"""A sub-merchant's id; the words of the contract are none."""

MAX_CARD_KEYS: Final = 2
"""The current key and, during a rotation, one other: both services count under each."""

_KEYED: Final = r"([a-z0-9-]{1,16})\.[A-Za-z0-9_-]{43}"
_KEYED_VALUES: Final = re.compile(rf"{_KEYED}(?:,{_KEYED})?\Z")
_IDENTITY: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})\Z")


class PaymentIdentity(NamedTuple):
    """What makes two requests one payment; both are keyed hashes, base64url of 32 bytes.

    Attributes:
        key: Of merchant, client, operation and idempotency key.
        digest: Of the whole request: method, host, path and body.
    """

    key: str
    digest: str


def write_keyed(values: Iterable[str] | None) -> str:
    """Return an entry of keyed hashes: under the current secret first; `none` without a value, `unread` for None."""
    return UNREAD if values is None else ",".join(values) or NONE


def read_keyed(text: str) -> tuple[str, ...] | None:
    """Read an entry of keyed hashes: `card_key`, `payer`, `device` or `ip`.

    Each is `<key id>.<base64url of 32 bytes>` (HMAC-SHA-256, see `policy/card_keys.py`).

    Returns:
        One hash, two of different key ids, none at all for `none`; None for any other text, `unread` included.
    """
    if text == NONE:
        return ()
    found = _KEYED_VALUES.match(text)
    if found is None or found[1] == found[2]:
        return None
    return tuple(text.split(","))


def write_identity(identity: PaymentIdentity | None) -> str:
    """Return the entry `idempotency`."""
    return NONE if identity is None else f"{identity.key}.{identity.digest}"


def read_identity(text: str) -> PaymentIdentity | None:
    """Read the entry `idempotency` where it is not `none`; None for any other text."""
    found = _IDENTITY.match(text)
    return None if found is None else PaymentIdentity(found[1], found[2])
