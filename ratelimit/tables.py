"""The compiled policy of this service: per merchant and operation, the limits that apply."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from policy.merchants import MerchantEntry
from ratelimit.conversion import Conversion
from ratelimit.headers import Told
from ratelimit.ledger import Kind
from ratelimit.model import LimitQuery
from ratelimit.window import Frame


@dataclass(frozen=True, slots=True)
class Limit:
    """One quota with the value that counts for a merchant.

    Attributes:
        quota: Id from quotas.yaml.
        metric: `amount` adds minor units, `count` one a request; `distinct` and `in_flight` add one member.
        currency: Of an amount; None otherwise.
        value: The most that is allowed where no change applies.
        is_shadow: Counted and reported, never refused.
        denies_without_store: What the quota says when the store gives no reading.
        kind: How the ledger counts it.
        frame: What bounds its windows; None for a single payment, and for what slides, refills or is leased.
        step: See `ratelimit.ledger.Entry.step`.
        buckets: See `ratelimit.ledger.Entry.buckets`.
        expires_in_seconds: How long a counter without windows is kept after its last charge.
        changes: From when (seconds since 1970, ascending) another value holds; empty for most.
        subject: What a distinct quota counts: `card`, `payer`, `device` or `ip`.
        scope: Whose counter it is: `merchant`, `group` or `platform`.
        dimensions: What else has a counter of its own, such as `card`.
        passes_without: A payment without what it counts by is not counted; else it is refused.
        is_once: A repeat of a payment that is counted already adds nothing.
        is_held: Given back when the upstream provably did not take the payment.
        warn_at: Per cent of the value, ascending, at which an operator wants to know.
        is_single: Each payment is compared by itself.
        is_rate: Waiting cures it in a moment: a second, a rate, or requests in flight.
        is_converted: Payments in every currency count, by their amount in `currency`.
        told: What clients are told of it in response headers; None for nothing.
        is_leased: Shares of it may be drawn ahead of use.
        local: With `on_store_failure: local`, this replica's share of it; None otherwise.
    """

    quota: str
    metric: Literal["count", "amount", "distinct", "in_flight"]
    currency: str | None
    value: int
    is_shadow: bool
    denies_without_store: bool
    kind: Kind = Kind.WINDOW
    frame: Frame | None = None
    step: int = 0
    buckets: int = 0
    expires_in_seconds: int = 0
    changes: tuple[tuple[float, int], ...] = ()
    subject: str = ""
    scope: Literal["merchant", "group", "platform"] = "merchant"
    dimensions: tuple[str, ...] = ()
    passes_without: bool = False
    is_once: bool = False
    is_held: bool = False
    warn_at: tuple[int, ...] = ()
    is_single: bool = False
    is_rate: bool = False
    is_converted: bool = False
    told: Told | None = None
    is_leased: bool = False
    local: Limit | None = None

    def value_at(self, now: float) -> int:
        """Return the value that holds at `now`, seconds since 1970."""
        if not self.changes:
            return self.value
        place = bisect_right(self.changes, now, key=lambda change: change[0])
        return self.changes[place - 1][1] if place else self.value

    def amount_of(self, query: LimitQuery) -> int | None:
        """Return what a payment adds to an amount; None where it has no amount in this currency."""
        if self.is_converted:
            return query.base_minor
        return query.amount_minor if query.currency == self.currency else None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that limits one operation of one merchant.

    Attributes:
        moves_money: The hand-off must then carry amount and currency.
        single: Limits of one payment; need no store.
        counted: Limits with a counter.
        covered_currencies: Currencies with an enforced amount quota or a written `unlimited`.
        scopes: Whose counters there are besides the merchant's: `group`, `platform`.
        is_held: Something is given back or leased, so the payment waits for its outcome.
        hold_seconds: How long it waits.
        conversion: Rates, where some limit is converted; None otherwise.
        covers_every_currency: An enforced amount quota is converted: what has no rate is refused when it is counted.
        repeat_seconds: How long a repeat of a payment is known as one; 0 where its upstream may carry it out again.
    """

    moves_money: bool
    single: tuple[Limit, ...]
    counted: tuple[Limit, ...]
    covered_currencies: frozenset[str]
    scopes: tuple[str, ...] = ()
    is_held: bool = False
    hold_seconds: int = 86_400
    repeat_seconds: int = 0
    conversion: Conversion | None = None
    covers_every_currency: bool = False


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one request is judged by.

    Attributes:
        revision: Content hash of the policy set.
        merchants: Merchants by id.
        operations: Names of all operations.
        plans: By merchant id, then operation.
        declined: By operation, the statuses with which its upstream says that it did not take a payment.
    """

    revision: str
    merchants: Mapping[str, MerchantEntry]
    operations: frozenset[str]
    plans: Mapping[str, Mapping[str, Plan]]
    declined: Mapping[str, frozenset[int]] = field(default_factory=dict)
