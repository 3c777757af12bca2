"""Amounts in other currencies, as quotas that `convert` count them: by a dated table, rounded up, or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from policy.money import MAX_AMOUNT_MINOR, minor_unit_exponent
from policy.schema.rates import Rate, RatesFile


@dataclass(frozen=True, slots=True)
class DatedRate:
    """One rate between minor units, as a fraction: exact, whatever the amount.

    Attributes:
        starts_at: Seconds since 1970.
        ends_at: The first moment after.
        numerator: Minor units of the base for `denominator` minor units of the currency.
        denominator: At least 1.
    """

    starts_at: float
    ends_at: float
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """rates.yaml compiled.

    Attributes:
        base: The currency that amounts are converted into.
        rates: By currency.
    """

    base: str
    rates: Mapping[str, tuple[DatedRate, ...]]

    @classmethod
    def compile(cls, file: RatesFile | None) -> Conversion | None:
        """Compile a checked file; None without one."""
        if file is None:
            return None
        rates: defaultdict[str, tuple[DatedRate, ...]] = defaultdict(tuple)
        for rate in file.rates:
            rates[rate.currency] += (_dated(rate, file.base),)
        return cls(file.base, dict(rates))

    def convert(self, amount_minor: int, currency: str, now: float) -> int | None:
        """Return an amount in minor units of the base, rounded up.

        Args:
            amount_minor: Minor units of `currency`.
            currency: ISO 4217 code.
            now: Seconds since 1970.

        Returns:
            None where no rate holds now, or where the amount is larger than any that can be counted.
        """
        if currency == self.base:
            return amount_minor
        for rate in self.rates.get(currency, ()):
            if rate.starts_at <= now < rate.ends_at:
                converted = -(-amount_minor * rate.numerator // rate.denominator)
                return converted if converted <= MAX_AMOUNT_MINOR else None
        return None


def _dated(rate: Rate, base: str) -> DatedRate:
    numerator, denominator = Decimal(rate.rate).as_integer_ratio()
    numerator *= 10 ** _exponent(base)
    denominator *= 10 ** _exponent(rate.currency)
    ends = date.fromisoformat(rate.valid_until) + timedelta(days=1)
    return DatedRate(_midnight(date.fromisoformat(rate.valid_from)), _midnight(ends), numerator, denominator)


def _exponent(currency: str) -> int:
    exponent = minor_unit_exponent(currency)
    if exponent is None:
        raise ValueError(f"{currency} has no minor units")
    return exponent


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
