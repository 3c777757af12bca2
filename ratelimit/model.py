"""The values that travel along the straight line; no protobuf, no policy files, no I/O.

A verdict is `WithinLimit | OverLimit`; "no verdict" is an OverLimit with a 503 reason, because RLS
answers anything else by letting the request pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from chassis.no_truth import NoTruth
from policy.handoff import PaymentIdentity
from ratelimit.headers import Standing, Told
from ratelimit.reasons import Reason


class LimitQuery(NamedTuple):
    """The hand-off, read and checked for shape.

    Attributes:
        merchant_id: As bound by extauthz.
        operation: Name from routes.yaml.
        currency: ISO 4217 code, or None where the operation moves no money.
        amount_minor: Minor units, 0..2^53-1, or None where the operation moves no money.
        decision_id: 32 lower-case hex digits, extauthz' id of the same request.
        policy_revision: Revision that extauthz decided by.
        card_keys: Keyed hashes of the card number, the current key's first; empty without a card.
        payers: Of the payer's id, likewise; None where extauthz did not look for it.
        devices: Of the device's id, likewise.
        addresses: Of the payer's IP address, an IPv6 one by its /64, likewise.
        sub_merchant: Its id; empty without one, None where extauthz did not look for it.
        identity: What makes a repeat of the request the same payment; None where nothing does.
        base_minor: The amount in minor units of the currency that rates.yaml leads to; None where no rate holds. Not
            handed over: `ratelimit.pipeline.converted` sets it.
    """

    merchant_id: str
    operation: str
    currency: str | None
    amount_minor: int | None
    decision_id: str
    policy_revision: str
    card_keys: tuple[str, ...] = ()
    payers: tuple[str, ...] | None = ()
    devices: tuple[str, ...] | None = ()
    addresses: tuple[str, ...] | None = ()
    sub_merchant: str | None = ""
    identity: PaymentIdentity | None = None
    base_minor: int | None = None


class QuotaState(NamedTuple):
    """How a quota stands after a request.

    Attributes:
        quota: Id from quotas.yaml.
        limit: What is allowed in the window (or in one payment).
        used: What is used after this request when it was charged, else as found.
        reset_seconds: Until the window ends, rounded up; 0 for a single payment.
        is_over: This request did not fit.
        is_shadow: Counted and reported, never refused.
        is_per_second: The window is one second, for RLS' `unit`.
        crossed: Warn levels, per cent, that this request took the count across.
        told: What clients are told of it in response headers; None for nothing.
    """

    quota: str
    limit: int
    used: int
    reset_seconds: int
    is_over: bool
    is_shadow: bool
    is_per_second: bool
    crossed: tuple[int, ...] = ()
    told: Told | None = None

    def standing(self, told: Told) -> Standing:
        """Return what response headers say of it."""
        room = min(told.burst, self.limit) if told.burst else self.limit  # a rate is used up with its burst
        return Standing(self.quota, told, self.limit, max(0, room - self.used), self.reset_seconds)


@dataclass(frozen=True, slots=True)
class WithinLimit(NoTruth):
    """The request fits. Constructed in `judge` alone.

    Attributes:
        states: Every quota that was counted.
        deciding: The enforced quota with the smallest share left, if any.
        is_without_store: Passed by `on_store_failure`, allow or local, while the store was away.
    """

    states: tuple[QuotaState, ...] = ()
    deciding: QuotaState | None = None
    is_without_store: bool = False


@dataclass(frozen=True, slots=True)
class OverLimit(NoTruth):
    """The request is refused.

    Attributes:
        reason: Public reason code; fixes the HTTP status.
        deciding: The quota that decided, where one did.
        states: Every quota that was looked at.
        retry_after_seconds: For reasons that waiting cures.
        detail: For the operator's log only.
    """

    reason: Reason
    deciding: QuotaState | None = None
    states: tuple[QuotaState, ...] = ()
    retry_after_seconds: int | None = None
    detail: str = ""


Verdict = WithinLimit | OverLimit
