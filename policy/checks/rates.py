"""rates.yaml: rates that are more than nothing, one a day and currency, and quotas that can be converted into."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from policy.checks.quota_meaning import is_date
from policy.diagnostics import quote
from policy.money import minor_unit_exponent
from policy.names import QUOTAS_FILE, RATES_FILE
from policy.parts import Parts
from policy.schema.quotas import QuotasFile
from policy.schema.rates import Rate, RatesFile


def check_rates(parts: Parts) -> None:
    """Add every problem of rates.yaml, and of quotas that need it."""
    file, quotas = parts.find(RatesFile), parts.find(QuotasFile)
    if file is not None:
        _check_file(parts, file)
    for index, quota in enumerate(quotas.quotas if quotas is not None else ()):
        if not quota.convert:
            continue
        path = ("quotas", index, "convert")
        if quota.metric != "amount":
            parts.add_at_key(QUOTAS_FILE, path, "P072", "convert belongs to metric amount; remove it")
        elif file is None and RATES_FILE not in parts.documents:
            parts.add_at_key(QUOTAS_FILE, path, "P082", f"there is no {RATES_FILE} to convert by")
        elif file is not None and quota.currency != file.base:
            parts.add_at_key(QUOTAS_FILE, path, "P082", f"rates lead to {file.base}, not to {quota.currency}")


def _check_file(parts: Parts, file: RatesFile) -> None:
    if minor_unit_exponent(file.base) is None:
        parts.add(RATES_FILE, ("base",), "P071", f"{quote(file.base)} is no ISO 4217 code with minor units")
    for index, rate in enumerate(file.rates):
        for key, code, message in _faults(rate, file.base):
            parts.add(RATES_FILE, ("rates", index, key), code, message)
    _check_overlaps(parts, file)


def _faults(rate: Rate, base: str) -> Iterator[tuple[str, str, str]]:
    if minor_unit_exponent(rate.currency) is None:
        yield "currency", "P071", f"{quote(rate.currency)} is no ISO 4217 code with minor units"
    if rate.currency == base:
        yield "currency", "P082", "the base needs no rate"
    if not Decimal(rate.rate):
        yield "rate", "P082", "a rate of nothing would let every payment pass"
    for key in ("valid_from", "valid_until"):
        if not is_date(getattr(rate, key)):
            yield key, "P082", f"{quote(getattr(rate, key))} is not a date"
    if rate.valid_until < rate.valid_from:
        yield "valid_until", "P082", "ends before it begins"


def _check_overlaps(parts: Parts, file: RatesFile) -> None:
    """Refuse two rates for one day: which of them counts would be chance."""
    placed = sorted(enumerate(file.rates), key=lambda item: (item[1].currency, item[1].valid_from))
    for (_, before), (index, after) in pairwise(placed):
        if before.currency == after.currency and after.valid_from <= before.valid_until:
            message = f"{after.currency} has another rate until {before.valid_until}"
            parts.add(RATES_FILE, ("rates", index, "valid_from"), "P082", message)
