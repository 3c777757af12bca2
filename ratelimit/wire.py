"""Steps 1 and 6: parse Envoy's RateLimitRequest, render our RateLimitResponse.

Only this module of the service touches protobuf. Its law: Envoy lets `UNKNOWN` pass, so every answer sets
`overall_code`. Protos: envoy/service/ratelimit/v3/rls.proto, envoy/extensions/common/ratelimit/v3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from google.protobuf.message import DecodeError

from chassis.problem import CONTENT_TYPE, problem_body
from policy.handoff import (
    ABSENT,
    DOMAIN,
    ENTRIES,
    NONE,
    SUB_MERCHANT,
    UNREAD,
    VERSION,
    PaymentIdentity,
    read_identity,
    read_keyed,
)
from policy.money import MAX_AMOUNT_MINOR
from protos import envoy_wire_pb2 as wire
from ratelimit.headers import rate_limit_headers
from ratelimit.model import LimitQuery, OverLimit, QuotaState, Verdict, WithinLimit
from ratelimit.reasons import Reason

_UINT32_MAX: Final = 2**32 - 1
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,15})\Z")
_DECISION_ID = re.compile(r"[0-9a-f]{32}\Z")
_REVISION = re.compile(r"[0-9a-f]{8,64}\Z")
# Every value but the keyed ones at once: a seventh of the time of one search a value. No class holds a line break,
# so the values joined by line breaks match only value by value.
_HANDOFF = re.compile(
    rf"{re.escape(VERSION)}\n(?!{ABSENT}\n)([A-Za-z0-9_.-]{{1,64}})\n(?!{ABSENT}\n)([A-Za-z0-9_.-]{{1,64}})"
    rf"\n([A-Z]{{3}}|{NONE})\n(0|[1-9][0-9]{{0,15}}|{NONE})\n([^\n]+)\n(?!{ABSENT}\n)([A-Za-z0-9_.-]{{1,64}})"
    r"\n([^\n]+)\n([^\n]+)\n([^\n]+)\n([^\n]+)\n([0-9a-f]{32})\n([0-9a-f]{8,64})\Z"
)
_SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "merchant_id": _IDENTIFIER,
    "operation": _IDENTIFIER,
    "currency": _CURRENCY,
    "amount_minor": _AMOUNT,
    "decision_id": _DECISION_ID,
    "policy_revision": _REVISION,
    "sub_merchant": SUB_MERCHANT,
}
_REASONS: Final = {"currency": Reason.CURRENCY_UNKNOWN, "amount_minor": Reason.AMOUNT_INVALID}
_KEYS: Final = list(ENTRIES)
_Subjects = tuple[
    tuple[str, ...],
    tuple[str, ...] | None,
    tuple[str, ...] | None,
    tuple[str, ...] | None,
    str | None,
    PaymentIdentity | None,
]
_NO_SUBJECTS: Final = [NONE, UNREAD, UNREAD, UNREAD, UNREAD, NONE]
_NOTHING: Final[_Subjects] = ((), None, None, None, None, None)
_MAY_BE_NONE: Final = frozenset({"currency", "amount_minor", "sub_merchant"})
_KEYED: Final = ("card_key", "payer", "device", "ip")


def parse_rate_limit_request(data: bytes) -> LimitQuery | OverLimit:
    """Read one serialised RateLimitRequest.

    Args:
        data: Any bytes.

    Returns:
        The hand-off, or an OverLimit for anything that is not exactly the hand-off contract.
    """
    message = wire.RateLimitRequest()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return _invalid("not a RateLimitRequest")
    if message.domain != DOMAIN:
        return OverLimit(Reason.DOMAIN_UNKNOWN)
    if len(message.descriptors) != 1 or message.hits_addend > 1:
        return _invalid("not one descriptor with one hit")
    descriptor = message.descriptors[0]
    if descriptor.HasField("limit") or descriptor.HasField("hits_addend") or descriptor.is_negative_hits:
        return _invalid("an override or hits of its own")
    keys, values = [], []
    for entry in descriptor.entries:
        keys.append(entry.key)
        values.append(entry.value)
    if keys != _KEYS:
        return _invalid("not the entries of the contract")
    return _read_handoff(values)


def _read_handoff(values: Sequence[str]) -> LimitQuery | OverLimit:
    found = _HANDOFF.match("\n".join(values))
    if found is None:
        return _malformed(values)
    merchant_id, operation, currency, amount_text, *subjects, decision_id, policy_revision = found.groups()
    amount = None if amount_text == NONE else int(amount_text)
    if amount is not None and amount > MAX_AMOUNT_MINOR:
        return OverLimit(Reason.AMOUNT_INVALID, detail="amount_minor is out of range")
    if (amount is None) != (currency == NONE):
        return _invalid("amount_minor and currency come together or not at all")
    read = _NOTHING if subjects == _NO_SUBJECTS else _read_subjects(subjects)
    if isinstance(read, OverLimit):
        return read
    return LimitQuery(
        merchant_id, operation, None if amount is None else currency, amount, decision_id, policy_revision, *read
    )


def _read_subjects(texts: Sequence[str]) -> _Subjects | OverLimit:
    """Read what a payment is counted by besides its merchant: card to idempotency, in the order of the contract."""
    card_key, sub_merchant, payer, device, address, identity_text = texts
    keyed: list[tuple[str, ...] | None] = []
    for name, text in zip(_KEYED, (card_key, payer, device, address), strict=True):
        values = read_keyed(text)
        if values is None and (text != UNREAD or name == "card_key"):
            return _invalid(f"{name} is absent or malformed")
        keyed.append(values)
    identity = None if identity_text == NONE else read_identity(identity_text)
    if identity is None and identity_text != NONE:
        return _invalid("idempotency is absent or malformed")
    # One keyring hashes all of them: two values under different key ids would be counted as if they were two payers.
    if len({tuple(value.partition(".")[0] for value in values) for values in keyed if values}) > 1:
        return _invalid("keyed values under different keys")
    cards, payers, devices, addresses = keyed
    plain = {NONE: "", UNREAD: None}.get(sub_merchant, sub_merchant)
    return cards or (), payers, devices, addresses, plain, identity


def _malformed(values: Sequence[str]) -> OverLimit:
    """Name the first value that is not as the contract says, for the operator's log."""
    named = dict(zip(ENTRIES, values, strict=True))
    if named["handoff"] != VERSION:
        return _invalid("another version of the contract")
    for name, shape in _SHAPES.items():
        value = named[name]
        is_none = name in _MAY_BE_NONE and (value == NONE or (value == UNREAD and name == "sub_merchant"))
        if value == ABSENT or not (is_none or shape.match(value)):
            # An absent value says nothing about an amount: the whole hand-off may be missing.
            reason = Reason.HANDOFF_INVALID if value == ABSENT else _REASONS.get(name, Reason.HANDOFF_INVALID)
            return OverLimit(reason, detail=f"{name} is absent or malformed")
    return _invalid("an entry is empty")


def _invalid(detail: str) -> OverLimit:
    return OverLimit(Reason.HANDOFF_INVALID, detail=detail)


def render_rate_limit_response(verdict: Verdict, *, decision_id: str, errors_uri: str) -> bytes:
    """Write the verdict down for Envoy: code, one status, and for a refusal the problem body."""
    response = wire.RateLimitResponse()
    match verdict:
        case WithinLimit(deciding=deciding):
            response.overall_code = wire.RateLimitResponse.OK
            _status(response, wire.RateLimitResponse.OK, deciding)
        case OverLimit(deciding=deciding):
            response.overall_code = wire.RateLimitResponse.OVER_LIMIT
            _status(response, wire.RateLimitResponse.OVER_LIMIT, deciding)
            _refusal(response, verdict, decision_id, errors_uri)
        case _:
            assert_never(verdict)
    standings = [state.standing(state.told) for state in verdict.states if state.told is not None]
    if standings:
        for key, value in rate_limit_headers(standings).items():
            response.response_headers_to_add.add(key=key, value=value)
    return response.SerializeToString()


def _status(response: wire.RateLimitResponse, code: wire.RateLimitResponse.Code, deciding: QuotaState | None) -> None:
    status = response.statuses.add(code=code)
    if deciding is None:
        return
    limit = status.current_limit
    # RLS counts in uint32; an amount above it is shown as the largest number there is.
    limit.requests_per_unit = min(deciding.limit, _UINT32_MAX)
    limit.unit = (
        wire.RateLimitResponse.RateLimit.SECOND if deciding.is_per_second else wire.RateLimitResponse.RateLimit.DAY
    )
    limit.name = deciding.quota
    status.limit_remaining = min(max(deciding.limit - deciding.used, 0), _UINT32_MAX)
    status.duration_until_reset.seconds = deciding.reset_seconds


def _refusal(response: wire.RateLimitResponse, verdict: OverLimit, decision_id: str, errors_uri: str) -> None:
    spec = verdict.reason.spec
    quota = verdict.deciding.quota if verdict.deciding else None
    response.raw_body = problem_body(
        spec, base_uri=errors_uri, decision_id=decision_id, extensions={"quota": quota} if quota else None
    )
    headers = {"content-type": CONTENT_TYPE, "cache-control": "no-store", "x-tollhouse-decision-id": decision_id}
    if verdict.retry_after_seconds is not None:
        headers["retry-after"] = str(verdict.retry_after_seconds)
    for key, value in headers.items():
        response.response_headers_to_add.add(key=key, value=value)
    fields = response.dynamic_metadata.fields
    fields["http_status"].number_value = spec.http_status
    fields["reason"].string_value = spec.code
    fields["decision_id"].string_value = decision_id
    if quota:
        fields["quota"].string_value = quota
