"""Oracles of both wire readers: envoy-data-plane's messages, which share no code with ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from extauthz.model import AuthzRequest, Deny
from extauthz.reasons import Reason as AuthzReason
from extauthz.wire import parse_check_request
from helpers.fuzzing.engine import Target
from helpers.wire_oracle import auth, rls
from policy.handoff import ABSENT, DOMAIN, ENTRIES, NONE, VERSION
from policy.handoff import UNREAD as UNREAD_WORD
from policy.money import MAX_AMOUNT_MINOR
from protos import envoy_wire_pb2 as wire
from ratelimit.model import LimitQuery, OverLimit
from ratelimit.reasons import Reason as LimitReason
from ratelimit.wire import parse_rate_limit_request

UNREAD = frozenset(
    {LimitReason.HANDOFF_INVALID, LimitReason.DOMAIN_UNKNOWN, LimitReason.AMOUNT_INVALID, LimitReason.CURRENCY_UNKNOWN}
)
"""Why ratelimit reads no hand-off out of a message."""


def _agrees(compare: Callable[[Any, bytes], None], parsed: Any, data: bytes) -> bool:
    """Tell whether the oracle reads the bytes as we do.

    It stumbles over a known field number under another wire type, which every protobuf reader takes for an
    unknown field. So where it does not agree it gets the same message without unknown fields.
    """
    try:
        compare(parsed, data)
    except Exception:  # noqa: BLE001 - the oracle's own stumbles are of many kinds
        return False
    return True


def known_fields(message: Message) -> bytes:
    """Return a message without what its definition does not know."""
    message.DiscardUnknownFields()
    return message.SerializeToString()


def run_check(data: bytes) -> None:
    """A check is refused, or read as the full definition of Envoy's message reads it."""
    parsed = parse_check_request(data)
    if isinstance(parsed, Deny):
        assert parsed.reason is AuthzReason.REQUEST_MALFORMED
        return
    assert isinstance(parsed, AuthzRequest)
    if not _agrees(_compare_check, parsed, data):
        _compare_check(parsed, known_fields(wire.CheckRequest.FromString(data)))


def _compare_check(parsed: AuthzRequest, data: bytes) -> None:
    http = auth.CheckRequest.parse(data).attributes.request.http
    assert (parsed.method, parsed.path, parsed.host, parsed.scheme) == (http.method, http.path, http.host, http.scheme)
    assert parsed.body == (http.raw_body or http.body.encode())
    assert not (http.raw_body and http.body), "two bodies"
    assert dict(parsed.headers) == _headers(http)
    is_cut = parsed.headers.get("x-envoy-auth-partial-body", "false") != "false" or http.size > len(parsed.body)
    assert parsed.body_is_partial or not is_cut, "a cut body passes for a whole one"


def _headers(http: Any) -> dict[str, str]:
    pairs = list(http.headers.items())
    if http.header_map is not None:
        assert not pairs, "two sets of headers"
        entries = http.header_map.headers
        assert not any(entry.raw_value and entry.value for entry in entries), "two values"
        pairs = [(entry.key, entry.value or entry.raw_value.decode("utf-8", "replace")) for entry in entries]
    joined: dict[str, str] = {}
    for name, value in pairs:
        known = joined.get(name.lower())
        joined[name.lower()] = value if known is None else f"{known},{value}"
    return joined


def run_hit(data: bytes) -> None:
    """A hit is over limit, or exactly one hand-off of the contract in the full definition too."""
    parsed = parse_rate_limit_request(data)
    if isinstance(parsed, OverLimit):
        assert parsed.reason in UNREAD
        return
    if not _agrees(_compare_hit, parsed, data):
        _compare_hit(parsed, known_fields(wire.RateLimitRequest.FromString(data)))


def _compare_hit(parsed: LimitQuery, data: bytes) -> None:
    request = rls.RateLimitRequest.parse(data)
    assert request.domain == DOMAIN
    assert request.hits_addend <= 1
    (descriptor,) = request.descriptors
    assert descriptor.limit is None
    assert descriptor.hits_addend is None
    assert [entry.key for entry in descriptor.entries] == list(ENTRIES)
    values = {entry.key: entry.value for entry in descriptor.entries}
    assert values.pop("handoff") == VERSION
    assert ABSENT not in values.values()
    for name in ("merchant_id", "operation", "decision_id", "policy_revision"):
        assert getattr(parsed, name) == values[name]
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", values[name])
    assert str(parsed.currency or NONE) == values["currency"]
    assert str(NONE if parsed.amount_minor is None else parsed.amount_minor) == values["amount_minor"]
    assert parsed.amount_minor is None or 0 <= parsed.amount_minor <= MAX_AMOUNT_MINOR
    _compare_subjects(parsed, values)


def _compare_subjects(parsed: LimitQuery, values: dict[str, str]) -> None:
    read = {"card_key": parsed.card_keys, "payer": parsed.payers, "device": parsed.devices, "ip": parsed.addresses}
    for name, keys in read.items():
        assert (UNREAD_WORD if keys is None else ",".join(keys) or NONE) == values[name]
    assert len({tuple(key.split(".")[0] for key in keys) for keys in read.values() if keys}) <= 1
    assert parsed.card_keys is not None
    assert (UNREAD_WORD if parsed.sub_merchant is None else parsed.sub_merchant or NONE) == values["sub_merchant"]
    assert (NONE if parsed.identity is None else ".".join(parsed.identity)) == values["idempotency"]
    assert parsed.base_minor is None, "no hand-off says what an amount is worth"


CHECK = Target(
    "check",
    run_check,
    ("extauthz/wire.py",),
    (
        b"\x0a\x00",
        b"\x22\x00",
        b"Content-Type",
        b"authorization",
        b"x-tollhouse-review",
        b"content-length",
        b"x-envoy-auth-partial-body",
        b"POST",
        b"/v1/payments",
        b"\xff\xff\xff\xff\x0f",
        b"\x80",
        b"\xc3\x28",
        b"\x5a\x01x",
        b"\x62\x01x",
    ),
)
HIT = Target(
    "hit",
    run_hit,
    ("ratelimit/wire.py",),
    (
        b"tollhouse",
        b"absent",
        b"none",
        b"handoff",
        b"unread",
        b"payer",
        b"sub_merchant",
        b"idempotency",
        b"k1." + b"A" * 43,
        b"A" * 43 + b"." + b"D" * 43,
        b"amount_minor",
        b"merchant_id",
        b"EUR",
        b"\x18\x01",
        b"\x18\x02",
        b"9007199254740991",
        b"9007199254740992",
        b"-1",
        b"01",
        b"\x12\x00",
        b"\x0a\x00",
        b"\xff\xff\xff\xff\x0f",
    ),
)
