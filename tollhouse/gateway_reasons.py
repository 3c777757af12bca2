"""Every reason Envoy gives by itself, for docs/errors.md.

envoy/tollhouse.yaml renders them (`local_reply_config`); a test compares the two. The codes are public: clients
and dashboards match on them, so none is renamed or reused.
"""

from __future__ import annotations

from typing import Final

from chassis.problem import ReasonSpec

GATEWAY_REASONS: Final = (
    ReasonSpec(
        "gateway_request_malformed",
        400,
        "The request could not be read without ambiguity.",
        "Not HTTP as Envoy accepts it: an escaped slash in the path, a header name with an underscore, too many or "
        "too long headers (then with status 431).",
        "Send a plain path without %2F or %5C, and header names without underscores.",
        "after_change",
    ),
    ReasonSpec(
        "gateway_request_timeout",
        408,
        "The request did not arrive in time.",
        "The caller took longer to send its headers or its body than Envoy waits.",
        "Send the request again on a better connection.",
        "later",
    ),
    ReasonSpec(
        "gateway_body_too_large",
        413,
        "The request body is too long.",
        "The body is longer than the gate reads (`max_request_bytes` in envoy/tollhouse.yaml).",
        "Send a shorter body.",
        "after_change",
    ),
    ReasonSpec(
        "gateway_flood",
        429,
        "Too many requests from this address.",
        "The flood shield: this address, or all callers together, sent more than Envoy lets through.",
        "Send less, and again after Retry-After.",
        "later",
    ),
    ReasonSpec(
        "gateway_authorization_unavailable",
        503,
        "The gate could not check this request.",
        "extauthz is away, late or broken. Nothing reached the payment service.",
        "Send the request again after Retry-After.",
        "later",
    ),
    ReasonSpec(
        "gateway_quota_unavailable",
        503,
        "The gate could not check the merchant's limits.",
        "ratelimit is away, late or broken. Nothing reached the payment service.",
        "Send the request again after Retry-After.",
        "later",
    ),
    ReasonSpec(
        "gateway_upstream_unavailable",
        503,
        "The payment service could not be reached.",
        "No connection to the payment service, or it broke before an answer. A payment may have been executed if the "
        "connection broke after it was sent.",
        "Ask for the payment's state before sending it again, or send it with the same idempotency key.",
        "later",
    ),
    ReasonSpec(
        "gateway_upstream_timeout",
        504,
        "The payment service did not answer in time; the payment may have been executed.",
        "The payment service took longer than Envoy waits.",
        "Ask for the payment's state before sending it again, or send it with the same idempotency key.",
        "later",
    ),
    ReasonSpec(
        "gateway_error",
        500,
        "The gateway could not answer this request.",
        "Anything else that Envoy answers by itself, with the status it chose; 500 when extauthz asked for a change of "
        "the request that it may not ask for.",
        "Quote the request id when asking the platform.",
        "later",
    ),
)

ACCESS_TOKEN: Final = ReasonSpec(
    "gateway_access_token",
    401,
    "No valid access token.",
    "Where Envoy verifies tokens (envoy/tollhouse-jwt-authn.yaml): there is none, or its signature, issuer, audience "
    "or times are not what they must be.",
    "Get a new token from the issuer, for this API, and send it in the Authorization header.",
    "after_change",
)
"""Of the chain with jwt_authn alone; the reference chain never gives it."""
