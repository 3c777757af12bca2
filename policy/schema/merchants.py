"""merchants.yaml: who may move money through this gate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import AmountMinor, FileModel, Identifier, MerchantId, Text
from policy.schema.durations import CalendarDate


class Suspension(FileModel):
    """Why a merchant is suspended; needed with `status: suspended`."""

    owner: Text
    reason: Text
    until: CalendarDate | None = Field(
        None, description="For people: when to look again. It never lifts the suspension by itself."
    )


class Merchant(FileModel):
    """One merchant."""

    id: MerchantId
    name: Text
    status: Literal["active", "suspended"]
    suspension: Suspension | None = None
    tier: Identifier
    time_zone: Text = Field(description="IANA name; daily quotas turn at midnight there.")
    group: Identifier | None = Field(None, description="Of merchants that share quotas `per: group`.")
    since: CalendarDate | None = Field(None, description="First day, local; `ramp_up` of quotas counts from it.")
    mcc: Annotated[str, StringConstraints(pattern=r"^\d{4}$")] | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None


class Override(FileModel):
    """Another value of one quota for one merchant, for a time."""

    merchant: MerchantId
    quota: Identifier
    limit: AmountMinor
    starts: CalendarDate = Field(description="First day, in the merchant's time zone.")
    ends: CalendarDate = Field(description="Last day, in the merchant's time zone.")
    owner: Text
    reason: Text
    approver: Text = Field(description="Who agreed; somebody else than the owner.")


class MerchantsFile(FileModel):
    """All merchants; a payment of any other is refused with merchant_unknown."""

    tiers: tuple[Identifier, ...] = Field(min_length=1)
    groups: tuple[Identifier, ...] = Field((), max_length=10_000)
    merchants: tuple[Merchant, ...] = Field(min_length=1)
    overrides: tuple[Override, ...] = Field(
        (), max_length=10_000, description="Temporary values; they go before tiers, merchants and ramp_up."
    )
