"""Step 3, key: the counters of one payment, as one posting for the ledger.

A key reads `tollhouse:1:{m_1}:amount_per_day:d20260329`; what stands in braces decides where a cluster keeps it. A
group's or the platform's counters stand under a tag that no merchant id can spell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from policy.merchants import MerchantEntry
from ratelimit.ledger import Entry, Hold, Identity, Kind, Posting
from ratelimit.model import LimitQuery, OverLimit
from ratelimit.reasons import Reason
from ratelimit.tables import Limit, Plan
from ratelimit.window import Window, Windows

_PREFIX: Final = "tollhouse:1:"


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one request.

    Attributes:
        limit: The quota it belongs to.
        suffix: What it belongs to besides the merchant, group or platform; empty for nothing.
        member: Whom a distinct quota counts; empty otherwise.
    """

    limit: Limit
    suffix: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is sent, and what the answer is read with; `windows` stand in the order of the entries."""

    posting: Posting
    windows: Sequence[Window | None]
    values: Sequence[int]


def find_counters(plan: Plan, query: LimitQuery) -> list[Counter] | OverLimit:
    """Return each counter that the request is counted by, or why it cannot be.

    During a rotation a card has two keys, as payers, devices and addresses have, and its quota counts under both:
    replicas that know one of them and replicas that know both then agree on the counter they share, which holds the
    whole count.
    """
    counters: list[Counter] = []
    for limit in plan.counted:
        if limit.metric == "amount" and limit.amount_of(query) is None:
            if limit.is_converted and not limit.is_shadow:
                return OverLimit(Reason.RATE_MISSING, detail=f"quota {limit.quota} has no rate for {query.currency}")
            continue
        if not limit.dimensions and not limit.subject:
            counters.append(Counter(limit))
            continue
        found = counters_of(limit, query)
        refusal = _lacking(limit, query) if found is None else None
        if refusal is not None:
            return refusal
        counters.extend(found or ())
    return counters


def counters_of(limit: Limit, query: LimitQuery) -> list[Counter] | None:
    """Return the counters of a limit with dimensions; None when the request lacks one of them."""
    parts = [_VALUES[dimension](query) for dimension in limit.dimensions]
    members = _VALUES[limit.subject](query) if limit.subject else ("",)
    if not members or not all(parts):
        return None
    counters = []
    # Values under one key belong together: nobody counts a card under the new key and its payer under the old one.
    for place in range(max((len(values) for values in parts if values), default=1)):
        suffix = "".join(f":{_at(values, place)}" for values in parts if values)
        # One counter for each key of the dimensions: a member stands in it under one name only.
        counters.append(Counter(limit, suffix, _at(members, place)))
    return counters


def _at(values: Sequence[str], place: int) -> str:
    return values[place] if len(values) > 1 else values[0]


def _lacking(limit: Limit, query: LimitQuery) -> OverLimit | None:
    """Say why a payment without something that the quota counts by is refused; None where it passes uncounted."""
    if limit.is_shadow:
        return None
    named = {name: _VALUES[name](query) for name in (*limit.dimensions, limit.subject) if name}
    unread = [name for name, values in named.items() if values is None]
    lacking = [name for name, values in named.items() if not values]
    if limit.passes_without and not unread:
        return None
    reason = Reason.CARD_MISSING if "card" in lacking and not unread else Reason.SUBJECT_MISSING
    told = f"{', '.join(lacking)}{', which extauthz did not look for' if unread else ''}"
    return OverLimit(reason, detail=f"quota {limit.quota} counts by {told}")


def _sub_merchant(query: LimitQuery) -> Sequence[str] | None:
    if query.sub_merchant is None:
        return None
    return (query.sub_merchant,) if query.sub_merchant else ()


_VALUES: Final[Mapping[str, Callable[[LimitQuery], Sequence[str] | None]]] = {
    "operation": lambda query: (query.operation,),
    "card": lambda query: query.card_keys,
    "payer": lambda query: query.payers,
    "device": lambda query: query.devices,
    "ip": lambda query: query.addresses,
    "sub_merchant": _sub_merchant,
}
"""Under which names a request has something: two during a rotation of keys; none where it lacks it, None unread."""


def prepare(
    plan: Plan, query: LimitQuery, counters: Sequence[Counter], merchant: MerchantEntry, at: tuple[Windows, float]
) -> Prepared:
    """Make the posting for one moment.

    Args:
        plan: Says whether the payment is held.
        query: The hand-off.
        counters: From `find_counters`.
        merchant: Whose zone and group they are.
        at: Kept windows, and the moment in seconds since 1970.
    """
    kept, now = at
    windows = [
        None if counter.limit.frame is None else kept.window(counter.limit.frame, now, merchant.zone)
        for counter in counters
    ]
    values = [counter.limit.value_at(now) for counter in counters]
    tags = _tags(merchant)
    entries = [
        _entry(counter, tags[counter.limit.scope], query, (window, value, now))
        for counter, window, value in zip(counters, windows, values, strict=True)
    ]
    framed = [window for window in windows if window is not None]
    return Prepared(
        Posting(
            entries,
            max((int(window.starts_at * 1000) for window in framed), default=0),
            min((int(window.ends_at * 1000) for window in framed), default=0),
            _hold(plan, query, merchant) if plan.is_held else None,
        ),
        windows,
        values,
    )


def _tags(merchant: MerchantEntry) -> Mapping[str, str]:
    return {"merchant": merchant.id, "group": f"=g:{merchant.group}", "platform": "=p"}


def places(plan: Plan, query: LimitQuery, merchant: MerchantEntry) -> Iterator[str]:
    """Yield a key for each place where a cluster may keep counters of a payment, the merchant's first."""
    yield hold_key(merchant.id, query.decision_id)
    for scope in plan.scopes:
        yield f"{_PREFIX}{{{_tags(merchant)[scope]}}}:"


def as_look(posting: Posting) -> Posting:
    """Return the posting as one that writes nothing."""
    return posting._replace(entries=[entry._replace(cost=0, is_held=False) for entry in posting.entries], hold=None)


def _entry(counter: Counter, tag: str, query: LimitQuery, at: tuple[Window | None, int, float]) -> Entry:
    limit, (window, value, now) = counter.limit, at
    key = f"{_PREFIX}{{{tag}}}:{limit.quota}"
    if window is None:
        key, expires = f"{key}:{limit.kind.name.lower()}{limit.step}{counter.suffix}", limit.expires_in_seconds
    else:
        key, expires = f"{key}:{window.label}{counter.suffix}", window.expires_in_seconds(now)
    # `find_counters` has left out or refused what has no amount; only a look at a counter comes here without one.
    amount = limit.amount_of(query) if limit.metric == "amount" else None
    cost = 1 if amount is None else amount
    flags = (limit.is_shadow, limit.is_once, limit.is_held)
    if limit.kind is Kind.WINDOW:
        if limit.is_leased:
            return Entry(key, value, cost, expires, limit.kind, *flags, lease=f"{tag}:{limit.quota}{counter.suffix}")
        return Entry(key, value, cost, expires, limit.kind, *flags)
    if limit.kind is Kind.RATE:
        burst, step = _pace(limit, value)
        return Entry(key, burst, cost, expires, limit.kind, *flags, step=step)
    member = counter.member or query.decision_id
    return Entry(key, value, cost, expires, limit.kind, *flags, limit.step, limit.buckets, member)


def _pace(limit: Limit, value: int) -> tuple[int, int]:
    """Return burst and microseconds of one emission for the value of the moment."""
    if value == limit.value:
        return (limit.buckets if value else 0), limit.step
    # Rounded up, like the step itself: never faster than the rate that holds.
    return (min(limit.buckets, value) if value else 0), -(-limit.step * max(1, limit.value) // max(1, value))


def _hold(plan: Plan, query: LimitQuery, merchant: MerchantEntry) -> Hold:
    about = hold_about(merchant.id, query.operation, query.currency, query.amount_minor)
    identity = None
    if plan.repeat_seconds and query.identity is not None:
        key = f"{_PREFIX}{{{merchant.id}}}:once:{query.identity.key}"
        identity = Identity(key, query.identity.digest, plan.repeat_seconds)
    return Hold(hold_key(merchant.id, query.decision_id), query.decision_id, about, plan.hold_seconds, identity)


def hold_key(merchant_id: str, decision_id: str) -> str:
    """Return the key of the hold of one decision."""
    return f"{_PREFIX}{{{merchant_id}}}:hold:{decision_id}"


def resets_key(merchant_id: str) -> str:
    """Return the key of the records of what operators have set to nothing; stands where the counters do."""
    return f"{_PREFIX}{{{merchant_id}}}:resets"


def hold_about(merchant_id: str, operation: str, currency: str | None, amount_minor: int | None) -> str:
    """Return what an outcome must say to settle a hold: merchant and operation, and the amount where there is one.

    The operation too, since it says which answers of the upstream release the hold.
    """
    return f"{merchant_id} {operation} {currency or '-'} {'-' if amount_minor is None else amount_minor}"
