"""The sample payments: what is sent through the gate and what must come out.

Rows only; `tollhouse.samples` sends them. Each refused row is one an outsider could try, and nothing of it
may reach the upstream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

_METADATA: Final = "https://payments.tollhouse.test/.well-known/oauth-protected-resource"
_REALM: Final = f'Bearer realm="tollhouse", resource_metadata="{_METADATA}"'


class Kind(Enum):
    """How a row is sent."""

    ONE = "one call"
    BURST = "many calls at once, the first refusal counts"
    FLOOD = "one address sends bad tokens until it is refused, while another sends a payment"
    STOPPED = "one call while a part is stopped, another once it is back"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to the gate.

    Attributes:
        oauth_client: Client of the development issuer whose token is sent; None for no token.
        scope: Scopes asked for, space separated; None for all.
        path: Sent as it is, not normalised.
        headers: Beside `authorization`, `content-type` and `host`.
    """

    oauth_client: str | None
    body: bytes
    scope: str | None = None
    method: str = "POST"
    path: str = "/v1/payments"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out.

    Attributes:
        details: Envoy's RESPONSE_CODE_DETAILS: who answered.
        reason: Reason code of the problem; None for an answer of the upstream.
        challenge: WWW-Authenticate must be this text; empty for none.
        has_retry_after: Whether Retry-After must be there.
        quota: Name of the quota in the problem; None where none is named.
    """

    status: int
    details: str
    reason: str | None = None
    challenge: str = ""
    has_retry_after: bool = False
    quota: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    Attributes:
        title: A sentence.
        before: Calls that must be answered 200 first.
        part: What is stopped, for `Kind.STOPPED`.
    """

    title: str
    call: Call
    expected: Expected
    kind: Kind = Kind.ONE
    before: tuple[Call, ...] = ()
    part: str = ""


def payment(merchant: str, minor_units: int = 1250, *, oauth_client: str | None = None, **fields: Any) -> Call:
    """Return a payment of a merchant, with the token of `oauth_client` or else of that merchant."""
    body = {
        "merchant_id": merchant,
        "amount": {"minor_units": minor_units, "currency": "EUR"},
        "card": {"country": "DE"},
        **fields,
    }
    return Call(oauth_client or merchant, json.dumps(body).encode())


APPROVED: Final = payment("m_active")
_CARD: Final = {"number": "4111111111111111", "country": "DE"}  # a public test number
_MISTYPED_CARD: Final = {**_CARD, "number": "4111111111111112"}
_ALLOWED: Final = Expected(200, "via_upstream")
_TOO_SOON: Final = 429
# The sample rule that declines looks at the country of the card issuer (policies/risk.yaml).
_SANCTIONED_COUNTRY: Final = "KP"


def _refused(status: int, reason: str, **more: Any) -> Expected:
    return Expected(status, "ext_authz_denied", reason, **more)


def _over_limit(status: int, reason: str, **more: Any) -> Expected:
    return Expected(status, "request_rate_limited", reason, **more)


def _bad_token(description: str) -> str:
    return f'{_REALM}, error="invalid_token", error_description="{description}"'


_TOKENS: Final = (
    Scenario(
        "no token",
        replace(APPROVED, oauth_client=None),
        _refused(401, "access_token_missing", challenge=_REALM),
    ),
    Scenario(
        "an expired token",
        payment("m_active", oauth_client="m_active-expired"),
        _refused(401, "access_token_expired", challenge=_bad_token("The access token has expired.")),
    ),
    Scenario(
        "a token for another audience",
        payment("m_active", oauth_client="m_active-other-audience"),
        _refused(
            401, "access_token_audience", challenge=_bad_token("The access token was issued for another audience.")
        ),
    ),
    Scenario(
        "a token without the scope",
        replace(APPROVED, scope="payments:read"),
        _refused(
            403,
            "insufficient_scope",
            challenge=f'{_REALM}, error="insufficient_scope", '
            'error_description="The access token lacks a scope that this operation needs.", scope="payments:write"',
        ),
    ),
    Scenario(
        "the body names another merchant than the token",
        payment("m_single", oauth_client="m_active"),
        _refused(
            403,
            "merchant_mismatch",
            challenge=f'{_REALM}, error="insufficient_scope", '
            'error_description="The access token belongs to another merchant than the request."',
        ),
    ),
)

_PAYMENTS: Final = (
    Scenario(
        "a risk rule declines it",
        payment("m_active", card={"country": _SANCTIONED_COUNTRY}),
        _refused(403, "payment-blocked"),
    ),
    Scenario("a suspended merchant", payment("m_suspended"), _refused(403, "merchant_suspended")),
    Scenario("a merchant nobody knows", payment("m_ghost"), _refused(403, "merchant_unknown")),
    Scenario(
        "the merchant's per-second limit exceeded",
        payment("m_rate", 100),
        _over_limit(_TOO_SOON, "rate_exceeded", has_retry_after=True, quota="payments_per_second"),
        kind=Kind.BURST,
    ),
    Scenario(
        "the merchant's daily amount exceeded",
        payment("m_daily", 6000),
        _over_limit(_TOO_SOON, "quota_exceeded", has_retry_after=True, quota="amount_per_day_eur"),
        before=(payment("m_daily", 6000),),
    ),
    Scenario(
        "the card's daily payments exceeded",
        payment("m_small", 100, card=_CARD),
        _over_limit(_TOO_SOON, "quota_exceeded", has_retry_after=True, quota="payments_per_card_per_day"),
        before=(payment("m_small", 100, card=_CARD),) * 2,
    ),
    Scenario(
        "a card number with a wrong check digit",
        payment("m_active", card=_MISTYPED_CARD),
        _refused(400, "card_number_invalid"),
    ),
    Scenario(
        "one transaction above the single-payment limit",
        payment("m_single", 5001),
        _over_limit(403, "single_limit_exceeded", quota="single_payment_eur"),
    ),
    Scenario(
        "the amount is missing",
        Call("m_active", b'{"merchant_id": "m_active", "amount": {"currency": "EUR"}, "card": {"country": "DE"}}'),
        _refused(400, "amount_missing"),
    ),
    Scenario("unreadable JSON", Call("m_active", b'{"merchant_id": '), _refused(400, "body_unreadable")),
    Scenario(
        "a duplicate JSON key",
        Call(
            "m_active",
            b'{"merchant_id": "m_active", "amount": {"minor_units": 1, "minor_units": 9999, "currency": "EUR"}}',
        ),
        _refused(400, "body_unreadable"),
    ),
)

_PATHS: Final = (
    Scenario(
        "the client sends x-tollhouse-* headers itself",
        replace(
            APPROVED,
            headers={"x-tollhouse-merchant-id": "m_single", "X-Tollhouse-Review": "false", "x-tollhouse-": "1"},
        ),
        _ALLOWED,
    ),
    Scenario(
        "/v1/payments/../admin",
        Call("m_active", b"", method="GET", path="/v1/payments/../admin"),
        _refused(404, "route_unknown"),
    ),
    Scenario(
        "%2F in the path",
        replace(APPROVED, path="/v1%2Fpayments"),
        Expected(400, "path_normalization_failed", "gateway_request_malformed"),
    ),
    Scenario(
        "one address floods with bad tokens, another pays",
        APPROVED,
        Expected(429, "local_rate_limited", "gateway_flood", has_retry_after=True),
        kind=Kind.FLOOD,
    ),
)

_STOPPED: Final = (
    Scenario(
        "Valkey stopped",
        APPROVED,
        _over_limit(503, "store_unavailable", has_retry_after=True),
        kind=Kind.STOPPED,
        part="store",
    ),
    Scenario(
        "extauthz stopped",
        APPROVED,
        Expected(503, "ext_authz_error", "gateway_authorization_unavailable", has_retry_after=True),
        kind=Kind.STOPPED,
        part="extauthz",
    ),
    Scenario(
        "ratelimit stopped",
        APPROVED,
        Expected(503, "rate_limiter_error", "gateway_quota_unavailable", has_retry_after=True),
        kind=Kind.STOPPED,
        part="ratelimit",
    ),
)

SCENARIOS: Final = (Scenario("an approved payment", APPROVED, _ALLOWED), *_TOKENS, *_PAYMENTS, *_PATHS, *_STOPPED)
