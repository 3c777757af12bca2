"""Every reason the rate-limit service may give, with its status and its page in docs/errors.md.

RLS knows only over limit; the HTTP status travels in dynamic metadata and Envoy's local_reply_config
applies it. The codes are public: clients and dashboards match on them, so none is renamed or reused.
"""

from __future__ import annotations

from chassis.problem import ReasonEnum, ReasonSpec


class Reason(ReasonEnum):
    """A reason code; `spec` says what it means."""

    HANDOFF_INVALID = ReasonSpec(
        "handoff_invalid",
        403,
        "The request reached the limiter without a verdict of the gate.",
        "The descriptor is not the one extauthz hands over: ext_authz was disabled on the route, its metadata is "
        "absent, or Envoy and the services are of different versions.",
        "Operators: compare the rate-limit actions with envoy/tollhouse.yaml. Merchants cannot cure it.",
        "never",
    )
    DOMAIN_UNKNOWN = ReasonSpec(
        "domain_unknown",
        403,
        "No limits are defined for this domain.",
        "The rate-limit filter names a domain that this service does not serve.",
        "Operators: set `domain: tollhouse` in the rate-limit filter.",
        "never",
    )
    MERCHANT_UNKNOWN = ReasonSpec(
        "quota_merchant_unknown",
        403,
        "The merchant is not known to the limiter.",
        "merchants.yaml of the limiter has no merchant of this id; the two services may serve different revisions.",
        "Retry once both services serve the same policy revision; else have the merchant set up.",
        "after_change",
    )
    MERCHANT_SUSPENDED = ReasonSpec(
        "quota_merchant_suspended",
        403,
        "The merchant is suspended.",
        "merchants.yaml of the limiter lists the merchant with `status: suspended`; extauthz may still serve an older "
        "revision.",
        "Contact the platform; retrying does not help.",
        "after_change",
    )
    OPERATION_UNKNOWN = ReasonSpec(
        "operation_unknown",
        403,
        "The operation is not known to the limiter.",
        "routes.yaml of the limiter has no operation of this name; the two services may serve different revisions.",
        "Retry once both services serve the same policy revision.",
        "after_change",
    )
    QUOTA_UNDEFINED = ReasonSpec(
        "quota_undefined",
        403,
        "No quota covers this payment.",
        "No enforced amount quota covers this merchant, operation and currency, and none is written as unlimited.",
        "Ask the platform to define a quota for this currency.",
        "after_change",
    )
    AMOUNT_MISSING = ReasonSpec(
        "quota_amount_missing",
        403,
        "The payment has no amount that the limiter can count.",
        "An operation that moves money was handed over without amount or currency, or with one out of range.",
        "Operators: extauthz refuses such a body itself; compare the versions of the services.",
        "never",
    )
    AMOUNT_INVALID = ReasonSpec(
        "quota_amount_invalid",
        403,
        "The payment has an amount that the limiter cannot count.",
        "The amount was handed over negative, with a fraction or an exponent, or above 2^53-1 minor units.",
        "Operators: extauthz refuses such a body itself; compare the versions of the services.",
        "never",
    )
    CURRENCY_UNKNOWN = ReasonSpec(
        "quota_currency_unknown",
        403,
        "The payment has a currency that the limiter does not know.",
        "The currency was handed over as no ISO 4217 code with minor units.",
        "Operators: extauthz refuses such a body itself; compare the versions of the services.",
        "never",
    )
    RATE_MISSING = ReasonSpec(
        "rate_missing",
        403,
        "No exchange rate covers this payment.",
        "A quota with `convert: true` applies, and rates.yaml has no rate for this currency and day; or the converted "
        "amount is larger than any that can be counted.",
        "Operators: add a rate to rates.yaml. Merchants: pay in another currency.",
        "after_change",
    )
    CARD_MISSING = ReasonSpec(
        "card_missing",
        403,
        "The payment names no card number that the limiter can count.",
        "A quota with `per: card` applies, the body has no card number, and the quota has no `without`.",
        "Send the card number; or ask the platform to let payments without one pass.",
        "after_change",
    )
    SUBJECT_MISSING = ReasonSpec(
        "subject_missing",
        403,
        "The payment lacks a detail that the limiter counts by.",
        "A quota per payer, device, ip or sub_merchant applies, the body has none, and the quota has no `without`; or "
        "extauthz serves an older policy revision that does not look for it.",
        "Send the payer, device, address or sub-merchant; or ask the platform to let payments without it pass.",
        "after_change",
    )
    SINGLE_LIMIT_EXCEEDED = ReasonSpec(
        "single_limit_exceeded",
        403,
        "The amount is above the limit for a single payment.",
        "A quota with `interval: per_transaction` is lower than this amount. Waiting does not help.",
        "Send a smaller amount or ask the platform for a higher limit.",
        "after_change",
    )
    RATE_EXCEEDED = ReasonSpec(
        "rate_exceeded",
        429,
        "Too many requests in a short time.",
        "A quota with `interval: per_second` or `rate`, or of requests in flight, is used up.",
        "Send the request again after Retry-After.",
        "later",
    )
    QUOTA_EXCEEDED = ReasonSpec(
        "quota_exceeded",
        429,
        "A quota is used up.",
        "The named quota would be exceeded by this request.",
        "Send the request again after Retry-After, when the next window begins or enough has slid out of it.",
        "later",
    )
    IDEMPOTENCY_MISMATCH = ReasonSpec(
        "idempotency_mismatch",
        422,
        "This idempotency key was used for another request.",
        "The same merchant, client and operation sent the same key with another body.",
        "Send the first request again unchanged, or this one with a key of its own.",
        "never",
    )
    LIMIT_EXCEEDED = ReasonSpec(
        "limit_exceeded",
        429,
        "Too many requests.",
        "A limit of descriptors/*.yaml is used up, or all its quota limits are.",
        "Send the request again when the limit's window ends.",
        "later",
    )
    LIMIT_REQUEST_INVALID = ReasonSpec(
        "limit_request_invalid",
        403,
        "The request's limits cannot be checked.",
        "Envoy sent a rate-limit request without domain or descriptors, with an override of unknown unit or with "
        "more hits than can be counted exactly.",
        "Operators: look at the rate-limit actions and overrides of the route. Merchants cannot cure it.",
        "never",
    )
    STORE_UNAVAILABLE = ReasonSpec(
        "store_unavailable",
        503,
        "Limits cannot be checked at the moment.",
        "The counter store is away, late or holds something that is no counter, and a quota says "
        "`on_store_failure: deny`, or the service `--descriptors-on-store-failure deny`.",
        "Send the request again after Retry-After.",
        "later",
    )
    OVERLOADED = ReasonSpec(
        "limiter_overloaded",
        503,
        "The limiter is overloaded.",
        "Too many requests are in flight for an answer in time.",
        "Send the request again after Retry-After.",
        "later",
    )
    POLICY_UNAVAILABLE = ReasonSpec(
        "limiter_policy_unavailable",
        503,
        "The limiter has no policy loaded.",
        "The service is starting or stopping.",
        "Send the request again after Retry-After.",
        "later",
    )
    INTERNAL = ReasonSpec(
        "limiter_internal_error",
        503,
        "The limiter failed to decide.",
        "A fault of ours; the log has it under the decision id.",
        "Send the request again after Retry-After; quote the decision id if it persists.",
        "later",
    )
