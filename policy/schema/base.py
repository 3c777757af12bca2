"""Building blocks of the policy file models.

The reader hands every scalar over as text with its spelling kept (`NO` stays `NO`, `0742` stays
`0742`); the types here decide what the text means.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_AMOUNT_MINOR = 2**53 - 1
"""Largest amount anywhere: what the store's Lua counts exactly."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")


class FileModel(BaseModel):
    """A mapping in a policy file: unknown keys are errors, values never change after load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _integer(value: Any) -> Any:
    if isinstance(value, str):
        if not _INTEGER.match(value):
            raise ValueError("expected a plain integer")
        return int(value)
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("expected true or false")
        return value == "true"
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
AmountMinor = Annotated[int, BeforeValidator(_integer), Field(ge=0, le=MAX_AMOUNT_MINOR)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
"""An id that the security team chooses: rules, quotas, operations, tiers."""
MerchantId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,128}$")]
"""One scope-token (RFC 6749 section 3.3)."""
AcrValue = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,200}$")]
"""One authentication context class (OpenID Connect Core section 2); stands in a challenge, so without space."""
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
ClaimPointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]+)+$", max_length=200)]
"""JSON Pointer (RFC 6901) into claims or a body; never the empty pointer."""

PATTERN_WORDS = {
    r"^[a-z][a-z0-9_.-]{0,63}$": "a small letter first, then small letters, digits, '_', '.' or '-', at most 64",
    r"^[A-Za-z0-9_-]{1,64}$": "letters, digits, '_' or '-', at most 64",
    r"^[\x21\x23-\x5B\x5D-\x7E]{1,128}$": "one OAuth scope: printable ASCII without space, quote or backslash",
    r"^[\x21\x23-\x5B\x5D-\x7E]{1,200}$": "one acr value: printable ASCII without space, quote or backslash",
    r"^[A-Z]{3}$": "an ISO 4217 code in capitals, such as EUR",
    r"^(/[^/]+)+$": "a JSON Pointer such as /amount/currency",
    r"^https?://[^\s?#]+$": "an address that starts with https:// and has no query or fragment",
    r"^\d{4}-\d\d-\d\d$": "a date such as 2026-12-31",
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$": "a moment such as 2026-03-29T01:30:00+01:00",
    r"^[1-9][0-9]{0,5}[smhd]$": "a length of time such as 30s, 15m, 24h or 90d",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "a time of day from 00:00 to 23:59",
    r"^(monday|tuesday|wednesday|thursday|friday|saturday|sunday|[1-9]|1[0-9]|2[0-8])$": "a day's name, or 1 to 28",
    r"^[A-Za-z0-9._~+/-]{1,64}$": "characters of an access token, at most 64",
    r"^\d{4}$": "four digits",
    r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$": "a decimal number such as 0.9214, without sign and exponent",
    r"^[A-Za-z0-9_.-]{1,64}$": "letters, digits, '_', '.' or '-', at most 64",
    r"^[a-z0-9-]{1,64}$": "a header's name in small letters, at most 64",
    r"^[A-Z]{2}$": "an ISO 3166 country code in capitals, such as DE",
    r"^[a-z0-9.\-\[\]:]{1,253}$": "a host name in small letters",
    r"^/[A-Za-z0-9_.~{}/\-]*$": "a path such as /v1/payments/{payment_id}",
    r"^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$": "a host in small letters, with a port if not 443",
    r"^[A-Za-z0-9_-]{1,1400}$": "base64url without padding, as in a JWK",
    r"^[\x20\x21\x23-\x5B\x5D-\x7E]{1,128}$": "printable ASCII without quote or backslash, at most 128",
    r"^[a-z][a-z0-9_.*-]{0,63}$": "a small letter first, then small letters, digits, '_', '.', '*' or '-', at most 64",
    r"^(@method|@target-uri|@authority|@scheme|@path|@query|[a-z0-9!#$%&'*+.^_`|~-]{1,64})$": (
        "@method, @target-uri, @authority, @scheme, @path, @query or a header's name in small letters"
    ),
}
"""What each pattern of the models means, in words for messages; a test finds every pattern here."""
