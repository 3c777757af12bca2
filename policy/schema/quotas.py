"""quotas.yaml: limits and quotas in merchant words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from policy.schema.base import AmountMinor, CurrencyCode, FileModel, Identifier, MerchantId, Text


class Unlimited(FileModel):
    """A written decision that nothing is limited; never the result of leaving something out."""

    owner: Text
    reason: Text


class Quota(FileModel):
    """One limit or quota.

    The value that counts is the most specific one: of the merchant, else of its tier, else
    `limit`. A quota without any value for a merchant does not apply to it.
    """

    id: Identifier
    owner: Text
    metric: Literal["count", "amount"]
    interval: Literal["per_transaction", "per_second", "daily"]
    operations: tuple[Identifier, ...] = Field(min_length=1)
    per: Literal["merchant", "card"] = Field(
        "merchant",
        description="What has a counter of its own: the merchant, or each card at the merchant. card needs "
        "`card_number` in the profile of every operation.",
    )
    without_card: Unlimited | None = Field(
        None,
        description="With per: card: payments without a card number are not counted. Without it they are refused "
        "(card_missing).",
    )
    currency: CurrencyCode | None = Field(None, description="Needed with amount, forbidden with count.")
    limit: AmountMinor | None = Field(None, description="For every merchant without a value of its own.")
    tiers: dict[Identifier, AmountMinor] = Field(default_factory=dict)
    merchants: dict[MerchantId, AmountMinor] = Field(default_factory=dict)
    unlimited: dict[MerchantId, Unlimited] = Field(default_factory=dict)
    mode: Literal["enforce", "shadow"] = "enforce"
    on_store_failure: Literal["deny", "allow"] | None = Field(
        None, description="Without a store: deny (default for amounts) or allow (default for counts)."
    )


class QuotasFile(FileModel):
    """All quotas; every one that applies must pass."""

    quotas: tuple[Quota, ...] = Field(min_length=1, max_length=1000)
