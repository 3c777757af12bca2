"""Every reason ext_authz may give, with its status and its page in docs/errors.md.

The codes are public: clients and dashboards match on them, so none is renamed or reused.
"""

from __future__ import annotations

from chassis.problem import ReasonEnum, ReasonSpec


class Reason(ReasonEnum):
    """A reason code; `spec` says what it means."""

    REQUEST_MALFORMED = ReasonSpec(
        "request_malformed",
        400,
        "The request could not be read without ambiguity.",
        "The path, host or a header can be read in more than one way, or a part of the request is missing.",
        "Send a plain path without escapes for slashes, dots or control characters, and each header once.",
        "after_change",
    )
    ROUTE_UNKNOWN = ReasonSpec(
        "route_unknown",
        404,
        "No operation is defined for this host, method and path.",
        "routes.yaml has no operation that matches.",
        "Check host, method and path against the API description.",
        "after_change",
    )
    ACCESS_TOKEN_MISSING = ReasonSpec(
        "access_token_missing",
        401,
        "An access token is required.",
        "The request carries no bearer credentials (RFC 6750 section 3.1).",
        "Send `Authorization: Bearer` with an access token of a configured issuer.",
        "after_change",
    )
    ACCESS_TOKEN_PRESENTATION = ReasonSpec(
        "access_token_presentation",
        400,
        "The access token was presented in a way that is not accepted.",
        "More than one token or method, a token in the query or body, or a repeated Authorization header "
        "(RFC 6750 section 2).",
        "Send exactly one Authorization header and the token nowhere else.",
        "after_change",
    )
    ACCESS_TOKEN_INVALID = ReasonSpec(
        "access_token_invalid",
        401,
        "The access token is not valid.",
        "Malformed, wrong issuer, type, algorithm, key or signature, or a required claim is missing "
        "(RFC 9068 section 4).",
        "Fetch a new access token; if it is refused again, check the issuer and the token profile.",
        "after_change",
    )
    ACCESS_TOKEN_EXPIRED = ReasonSpec(
        "access_token_expired",
        401,
        "The access token has expired.",
        "`exp` lies in the past, leeway included (RFC 7519 section 4.1.4).",
        "Fetch a new access token and send the request again.",
        "after_change",
    )
    ACCESS_TOKEN_AUDIENCE = ReasonSpec(
        "access_token_audience",
        401,
        "The access token was issued for another audience.",
        "No value of `aud` is one of ours (RFC 9068 section 4).",
        "Ask the token issuer for a token with this API as resource or audience.",
        "after_change",
    )
    TOKEN_BINDING = ReasonSpec(
        "token_binding",
        401,
        "The access token is not bound to this caller as it must be.",
        "The token is bound to a certificate or a DPoP key and the caller did not prove to hold it, or this operation "
        "takes bound tokens only (RFC 8705 section 3, RFC 9449 section 7.1).",
        "Use the client certificate or the DPoP key that the token was issued for; where the operation demands it, "
        "have tokens issued bound.",
        "after_change",
    )
    DPOP_PROOF = ReasonSpec(
        "dpop_proof_invalid",
        401,
        "The DPoP proof is not valid.",
        "The DPoP header is missing, repeated, malformed, wrongly signed, not for this method, address or token, too "
        "old, or was used before (RFC 9449 section 4.3).",
        "Make a new proof for every request, also for a repeated one, and keep the clock right.",
        "after_change",
    )
    DPOP_NONCE = ReasonSpec(
        "dpop_nonce_required",
        401,
        "The DPoP proof must carry the nonce that was given.",
        "The proof has no `nonce`, or one that is no longer in force (RFC 9449 section 9).",
        "Make a new proof with the value of the DPoP-Nonce header, and use that value until another one comes.",
        "after_change",
    )
    REPLAY_STORE_UNAVAILABLE = ReasonSpec(
        "replay_store_unavailable",
        503,
        "The gate cannot tell at present whether the DPoP proof or signature was used before.",
        "The store that remembers used proofs and signatures is away or late, so none is taken.",
        "Wait as long as Retry-After says, then send the request again with a new proof and a new signature.",
        "later",
    )
    SIGNATURE_MISSING = ReasonSpec(
        "signature_missing",
        401,
        "The request must be signed.",
        "The operation demands an HTTP message signature and the request has none, or none with the label or tag that "
        "routes.yaml names (RFC 9421 section 3.2).",
        "Sign what the Accept-Signature header names, with `created`, `keyid` and a fresh `nonce`.",
        "after_change",
    )
    SIGNATURE_INVALID = ReasonSpec(
        "signature_invalid",
        401,
        "The signature of the request is not valid.",
        "Not readable, does not cover what it must, too old, used before, by a key that is not the token's client's, "
        "or it does not verify over the request as the gate saw it (RFC 9421 section 3.2).",
        "Sign each request anew as the Accept-Signature header says, over the address as it is sent, and keep the "
        "clock right.",
        "after_change",
    )
    CONTENT_DIGEST_MISMATCH = ReasonSpec(
        "content_digest_mismatch",
        400,
        "The body is not the one that was signed.",
        "No digest of Content-Digest is a sha-256 or sha-512, or one of them is not that of the body (RFC 9530 section "
        "2).",
        "Compute Content-Digest over the bytes of the body as they are sent, content coding included.",
        "after_change",
    )
    SIGNED_BODY_TOO_LARGE = ReasonSpec(
        "signed_body_too_large",
        413,
        "The body is too large to be checked against its signature.",
        "Envoy handed over a part of the body only, and a digest needs all of it.",
        "Send a smaller body.",
        "after_change",
    )
    AUTHENTICATION_FAILURES = ReasonSpec(
        "authentication_failures",
        429,
        "Too many access tokens from this address were refused.",
        "`failed_authentications_per_minute` of providers.yaml: a token that was not verified before is not looked "
        "into until the address has been quiet. Tokens that were verified go on.",
        "Stop sending tokens that are refused; try again after Retry-After.",
        "later",
    )
    SCOPE_INSUFFICIENT = ReasonSpec(
        "insufficient_scope",
        403,
        "The access token lacks a scope that this operation needs.",
        "A scope that routes.yaml requires is not in the token (RFC 6750 section 3.1).",
        "Request a token with the scopes named in the WWW-Authenticate header.",
        "after_change",
    )
    STEP_UP_REQUIRED = ReasonSpec(
        "step_up_required",
        401,
        "The user must authenticate again, or more strongly.",
        "`acr` is none of those that the operation accepts, or `auth_time` lies too far back (RFC 9470 section 3).",
        "Send the user through authorization with the acr_values and max_age of the WWW-Authenticate header, and use "
        "the new token.",
        "after_change",
    )
    USER_REQUIRED = ReasonSpec(
        "user_required",
        403,
        "This operation needs a token that a user was present for.",
        "The token was issued to a client alone: nothing in it says that a user authenticated (RFC 9068 section 5).",
        "Use a token of the authorization code flow instead of one of client credentials.",
        "after_change",
    )
    ACTOR_NOT_ALLOWED = ReasonSpec(
        "actor_not_allowed",
        403,
        "The access token is used by a party that may not act here.",
        "The outermost `act` of the token is not an actor that routes.yaml names for this operation, or there must be "
        "one and there is none (RFC 8693 section 4.1).",
        "Exchange the token as a party that the platform has admitted.",
        "after_change",
    )
    AUTHORIZATION_DETAILS_INSUFFICIENT = ReasonSpec(
        "authorization_details_insufficient",
        403,
        "The access token does not authorize this payment.",
        "No member of `authorization_details` has the type, actions, location, amount, currency and creditor of this "
        "payment (RFC 9396 section 9).",
        "Have the user consent to exactly this payment and use the new token.",
        "after_change",
    )
    MERCHANT_MISMATCH = ReasonSpec(
        "merchant_mismatch",
        403,
        "The access token belongs to another merchant than the request.",
        "The merchant in the token and the merchant in the body differ, or the token names none.",
        "Use the token of the merchant whose payment this is.",
        "after_change",
    )
    MERCHANT_UNKNOWN = ReasonSpec(
        "merchant_unknown",
        403,
        "The merchant is not known here.",
        "merchants.yaml has no merchant of this id.",
        "Ask the platform to have the merchant set up.",
        "after_change",
    )
    MERCHANT_SUSPENDED = ReasonSpec(
        "merchant_suspended",
        403,
        "The merchant is suspended.",
        "merchants.yaml lists the merchant with `status: suspended`.",
        "Contact the platform; retrying does not help.",
        "after_change",
    )
    PAYMENT_BLOCKED = ReasonSpec(
        "payment-blocked",
        403,
        "The payment was declined by risk control.",
        "An enforced rule of risk.yaml declined it. The decision record names the rule; the client is not told.",
        "Do not retry unchanged. Quote the decision id when asking the platform.",
        "never",
    )
    BODY_UNREADABLE = ReasonSpec(
        "body_unreadable",
        400,
        "The request body could not be read without ambiguity.",
        "Not strict JSON: a duplicate key, wrong encoding, trailing data, too deep, too long, cut off, "
        "or the wrong content type.",
        "Send one UTF-8 JSON object with each key once and `content-type: application/json`.",
        "after_change",
    )
    IDEMPOTENCY_MISSING = ReasonSpec(
        "idempotency_missing",
        400,
        "The request has no idempotency key.",
        "The operation's `idempotency` in routes.yaml requires the header that it names.",
        "Send a key that is new for each payment and the same when a payment is sent again.",
        "after_change",
    )
    IDEMPOTENCY_INVALID = ReasonSpec(
        "idempotency_invalid",
        400,
        "The idempotency key could not be read without ambiguity.",
        "The header is empty, too long, there twice, or neither a plain word nor one quoted string.",
        "Send one key of letters, digits and hyphens, such as a UUID, bare or in quotes.",
        "after_change",
    )
    AMOUNT_MISSING = ReasonSpec(
        "amount_missing",
        400,
        "The payment amount is missing.",
        "The body profile found no amount on an operation that moves money.",
        "Send the amount in minor units.",
        "after_change",
    )
    AMOUNT_INVALID = ReasonSpec(
        "amount_invalid",
        400,
        "The payment amount is not acceptable.",
        "Not an integer of minor units between 0 and 2^53-1.",
        "Send a plain integer of minor units, no sign, fraction or exponent.",
        "after_change",
    )
    CURRENCY_INVALID = ReasonSpec(
        "currency_invalid",
        400,
        "The currency is missing or not known.",
        "Not an ISO 4217 alphabetic code in upper case that has minor units.",
        "Send a currency such as EUR.",
        "after_change",
    )
    ATTRIBUTE_INVALID = ReasonSpec(
        "attribute_invalid",
        400,
        "A field of the request body has the wrong type or size.",
        "A field that the body profile reads is not of the declared type, a required one is missing, or BIN and last "
        "digits are not those of the card number.",
        "Compare the body with the API description.",
        "after_change",
    )
    CARD_NUMBER_INVALID = ReasonSpec(
        "card_number_invalid",
        400,
        "The card number is missing or is none.",
        "The profile demands a card number and the body has none, or it is not text of 12 to 19 digits, without "
        "separators, with a right check digit.",
        "Correct the card number.",
        "after_change",
    )
    TOKEN_REVOKED = ReasonSpec(
        "token_revoked",
        401,
        "The access token has been revoked.",
        "The token, its session or all earlier tokens of its subject were called back, by the token issuer or by an "
        "operator of the gate.",
        "Get a new token; if that is refused too, the user has to log in again.",
        "after_change",
    )
    REVOCATION_UNAVAILABLE = ReasonSpec(
        "revocation_unavailable",
        503,
        "The gate cannot tell at present whether the access token was revoked.",
        "The list of revoked tokens could not be read for longer than policy permits.",
        "Send the request again after Retry-After; the token itself may be fine.",
        "later",
    )
    INTROSPECTION_UNAVAILABLE = ReasonSpec(
        "introspection_unavailable",
        503,
        "The gate cannot ask at present whether the access token is still good.",
        "The token issuer's introspection endpoint is away or slow, refuses our own credentials, or answers what "
        "cannot be read.",
        "Send the request again after Retry-After; the token itself may be fine.",
        "later",
    )
    TOKEN_ISSUER_UNAVAILABLE = ReasonSpec(
        "token_issuer_unavailable",
        503,
        "Access tokens cannot be checked at the moment.",
        "The token issuer's keys could not be fetched and no last good keys are within their bound.",
        "Send the request again after Retry-After; the token itself may be fine.",
        "later",
    )
    OVERLOADED = ReasonSpec(
        "overloaded",
        503,
        "The gate is overloaded.",
        "Too many requests are in flight for an answer in time.",
        "Send the request again after Retry-After.",
        "later",
    )
    DEADLINE_EXCEEDED = ReasonSpec(
        "deadline_exceeded",
        503,
        "The gate could not decide in time.",
        "The time Envoy allows for a decision was used up.",
        "Send the request again after Retry-After.",
        "later",
    )
    POLICY_UNAVAILABLE = ReasonSpec(
        "policy_unavailable",
        503,
        "The gate has no policy loaded.",
        "The service is starting or stopping.",
        "Send the request again after Retry-After.",
        "later",
    )
    INTERNAL = ReasonSpec(
        "internal_error",
        503,
        "The gate failed to decide.",
        "A fault of ours; the log has it under the decision id.",
        "Send the request again after Retry-After; quote the decision id if it persists.",
        "later",
    )
