"""quotas.yaml: limits and quotas in merchant words."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from policy.schema.base import AmountMinor, Boolean, CurrencyCode, FileModel, Identifier, Integer, MerchantId, Text
from policy.schema.durations import CalendarDate, ClockTime, Duration

Metric = Literal["count", "amount", "distinct", "in_flight"]
Interval = Literal[
    "per_transaction", "per_second", "rate", "sliding", "rolling", "daily", "weekly", "monthly", "lifetime"
]
Subject = Literal["card", "payer", "device", "ip"]
Dimension = Literal["merchant", "group", "platform", "operation", "sub_merchant", "card", "payer", "device", "ip"]
StartDay = Annotated[
    str, Field(pattern=r"^(monday|tuesday|wednesday|thursday|friday|saturday|sunday|[1-9]|1[0-9]|2[0-8])$")
]

KEYED_SUBJECTS: Final = frozenset({"card", "payer", "device", "ip"})
"""What is handed over as keyed hashes, so that the operator's keys are needed."""
SCOPES: Final = ("merchant", "group", "platform")
"""Whose counter it is in the end; one of them, the merchant unless another is written."""


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Unlimited(FileModel):
    """A written decision that nothing is limited; never the result of leaving something out."""

    owner: Text
    reason: Text


class RampStep(FileModel):
    """What part of a quota a young merchant has."""

    until_day: Annotated[Integer, Field(ge=1, le=3650)] = Field(
        description="Last day of the merchant's age it holds for, counted from `since` in merchants.yaml as day 1."
    )
    percent: Annotated[Integer, Field(ge=0, le=100)] = Field(description="Of the value; a broken unit is cut off.")


class Quota(FileModel):
    """One limit or quota.

    The value that counts is the most specific one: of the merchant, else of its tier, else
    `limit`. A quota without any value for a merchant does not apply to it.
    """

    id: Identifier
    owner: Text
    metric: Metric = Field(
        description="count: requests; amount: minor units; distinct: different cards, payers, devices or addresses; "
        "in_flight: requests at the same time."
    )
    distinct: Subject | None = Field(None, description="What metric distinct counts.")
    interval: Interval | None = Field(
        None,
        description="per_transaction: each payment by itself; rate: burst at once, then limit per length; sliding: "
        "the last length; rolling: every length from anchor; daily, weekly, monthly: by the local calendar. "
        "in_flight has none.",
    )
    length: Duration | None = Field(None, description="Of sliding and rolling; of rate, 1s without it.")
    anchor: CalendarDate | None = Field(None, description="Local midnight from which rolling windows are counted.")
    burst: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Most requests at once of a rate; without it, as many as limit."
    )
    lease: Duration | None = Field(
        None, description="in_flight: after this time a request without an outcome counts no more; 60s without it."
    )
    time_zone: Text | None = Field(None, description="IANA name for the calendar; without it, the merchant's.")
    cut_off: ClockTime | None = Field(None, description="Local time at which a day, week or month turns; 00:00.")
    start_day: StartDay | None = Field(None, description="weekly: monday to sunday (monday); monthly: 1 to 28 (1).")
    operations: tuple[Identifier, ...] = Field(min_length=1)
    per: Annotated[tuple[Dimension, ...], BeforeValidator(_as_list)] = Field(
        ("merchant",),
        min_length=1,
        description="What has a counter of its own, or a list of such: [group, card] is each card at each group. "
        "Without group or platform, each merchant. The profile of every operation must say where it stands: card as "
        "`card_number`, the others as the attributes merchant.sub_id, payer.id, device.id, payer.ip.",
    )
    without: Unlimited | None = Field(
        None,
        description="Payments without the card, payer, device, ip or sub_merchant that the quota counts by are not "
        "counted. Without it they are refused (card_missing, subject_missing).",
    )
    currency: CurrencyCode | None = Field(None, description="Needed with amount, forbidden otherwise.")
    convert: Boolean = Field(
        False,
        description="With amount: payments in every currency count, converted by rates.yaml and rounded up; without a "
        "rate for today they are refused (rate_missing).",
    )
    counts: Literal["attempts", "authorized"] = Field(
        "attempts",
        description="authorized: given back when the upstream provably did not take the payment; in doubt stays "
        "counted. attempts: whatever was let through counts.",
    )
    limit: AmountMinor | None = Field(None, description="For every merchant without a value of its own.")
    tiers: dict[Identifier, AmountMinor] = Field(default_factory=dict)
    merchants: dict[MerchantId, AmountMinor] = Field(default_factory=dict)
    unlimited: dict[MerchantId, Unlimited] = Field(default_factory=dict)
    ramp_up: tuple[RampStep, ...] = Field((), max_length=20, description="For merchants with `since`, by their age.")
    warn_at: tuple[Annotated[Integer, Field(ge=1, le=99)], ...] = Field(
        (), max_length=5, description="Per cent of the value at which a warning is logged and counted, such as 80, 95."
    )
    mode: Literal["enforce", "shadow"] = "enforce"
    on_store_failure: Literal["deny", "allow", "local"] | None = Field(
        None,
        description="Without a store: deny (default for amounts), allow (default otherwise), or local: this replica "
        "counts by itself, up to local_percent.",
    )
    local_percent: Annotated[Integer, Field(ge=1, le=100)] | None = Field(
        None, description="With local: this replica's share of the value; 100 divided by the replicas at most."
    )

    coordination: Literal["exact", "leased"] = Field(
        "exact",
        description="leased: each replica draws shares of the limit ahead of use, for high counts; never more than the "
        "limit passes, and a request may be refused early by what the other replicas hold.",
    )

    @property
    def scope(self) -> str:
        """Whose counter it is: `merchant`, `group` or `platform`."""
        return next((each for each in self.per if each in SCOPES), "merchant")

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What else a counter belongs to, in the order written."""
        return tuple(each for each in self.per if each not in SCOPES)

    @property
    def subjects(self) -> frozenset[str]:
        """What of the payment it counts by, so that a payment may lack it: card, payer, device, ip, sub_merchant."""
        return frozenset({*self.dimensions, self.distinct or "operation"} - {"operation"})


class Reservation(FileModel):
    """How long payments of `counts: authorized` wait for their outcome."""

    hold: Duration = Field("24h", description="After it, a payment without an outcome stays counted for good.")
    idempotency: Duration = Field("24h", description="How long a repeated idempotency key is the same payment.")


class QuotasFile(FileModel):
    """All quotas; every one that applies must pass."""

    quotas: tuple[Quota, ...] = Field(min_length=1, max_length=1000)
    reservation: Reservation = Reservation()
    headers: tuple[Literal["draft", "legacy"], ...] = Field(
        (),
        max_length=2,
        description="Response headers about request limits: draft is RateLimit and RateLimit-Policy, legacy is "
        "X-RateLimit-Limit, -Remaining, -Reset. Amounts never stand in headers.",
    )
