"""merchants.yaml: who may move money through this gate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import FileModel, Identifier, MerchantId, Text


class Suspension(FileModel):
    """Why a merchant is suspended; needed with `status: suspended`."""

    owner: Text
    reason: Text
    until: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")] | None = Field(
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
    mcc: Annotated[str, StringConstraints(pattern=r"^\d{4}$")] | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None


class MerchantsFile(FileModel):
    """All merchants; a payment of any other is refused with merchant_unknown."""

    tiers: tuple[Identifier, ...] = Field(min_length=1)
    merchants: tuple[Merchant, ...] = Field(min_length=1)
