"""The hand-off contract between ext_authz and the rate-limit service.

extauthz answers with dynamic metadata, Envoy turns it into one descriptor, ratelimit reads it.
Both services and the test that reads envoy/tollhouse.yaml use these names and no others. Whoever
needs another entry raises `VERSION`; each side refuses a number it does not know.
"""

from __future__ import annotations

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
