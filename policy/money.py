"""Currencies and amounts: ISO 4217 codes, minor units, and the largest amount anywhere."""

from __future__ import annotations

from functools import lru_cache

from policy.schema.base import MAX_AMOUNT_MINOR

__all__ = ["MAX_AMOUNT_MINOR", "minor_unit_exponent"]


@lru_cache(maxsize=1)
def _exponents() -> dict[str, int]:
    # The table is parsed from XML when the package is imported: wanted at load, not on import of this module.
    from iso4217 import Currency

    found = {currency.code: currency.exponent for currency in Currency}
    return {code: exponent for code, exponent in found.items() if exponent is not None}


def minor_unit_exponent(code: str) -> int | None:
    """Return how many decimal places one unit has, or None.

    None means: no ISO 4217 alphabetic code in upper case, or one without minor units (gold, testing).
    """
    return _exponents().get(code)
