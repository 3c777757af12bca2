"""rates.yaml: what one unit of a currency is worth, for quotas that count several currencies as one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from policy.schema.base import CurrencyCode, FileModel, Text
from policy.schema.durations import CalendarDate

DecimalText = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$")]


class Rate(FileModel):
    """One currency for a span of days, by UTC."""

    currency: CurrencyCode
    rate: DecimalText = Field(description="Whole units of base for one whole unit of currency, as a decimal in quotes.")
    valid_from: CalendarDate = Field(description="First day.")
    valid_until: CalendarDate = Field(description="Last day; after it payments in this currency are refused.")


class RatesFile(FileModel):
    """Rates into one currency; amounts are rounded up."""

    base: CurrencyCode
    owner: Text
    source: Text = Field(description="Where the rates are from, for whoever asks later.")
    rates: tuple[Rate, ...] = Field(min_length=1, max_length=10_000)
