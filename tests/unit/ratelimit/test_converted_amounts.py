"""Amounts of several currencies as one: exact, rounded up, by the rate of the day, and refused without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from helpers.policy_sets import write_set
from policy.loader import load_policy_set
from policy.money import MAX_AMOUNT_MINOR
from policy.schema.rates import RatesFile
from ratelimit.compile import compile_tables
from ratelimit.conversion import Conversion
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import LimitQuery, Verdict, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.posting import find_counters
from ratelimit.reasons import Reason
from ratelimit.tables import Limit, Tables
from ratelimit.usage import look_at
from ratelimit.window import Windows

MARCH = {"valid_from": "2026-03-01", "valid_until": "2026-03-31"}
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC).timestamp()


def conversion(base: str = "EUR", **rates: str) -> Conversion:
    listed = tuple({"currency": currency, "rate": rate, **MARCH} for currency, rate in rates.items())
    fields: dict[str, Any] = {"base": base, "owner": "treasury", "source": "a sheet", "rates": listed}
    compiled = Conversion.compile(RatesFile(**fields))
    assert compiled is not None
    return compiled


EUR = conversion(USD="0.9214", JPY="0.0061", BHD="2.5")


@pytest.mark.parametrize(
    ("amount", "currency", "converted"),
    [
        (100, "EUR", 100),
        (10_000, "USD", 9214),
        (1, "USD", 1),
        (0, "USD", 0),
        (100, "JPY", 61),
        (101, "JPY", 62),
        (1000, "BHD", 250),
        (1001, "BHD", 251),
        (MAX_AMOUNT_MINOR, "JPY", MAX_AMOUNT_MINOR * 61 // 100 + 1),
        (MAX_AMOUNT_MINOR, "EUR", MAX_AMOUNT_MINOR),
        (100, "GBP", None),
    ],
)
def test_amount_is_converted_between_minor_units_and_rounded_up(amount, currency, converted):
    assert EUR.convert(amount, currency, NOON) == converted


def test_amount_that_grows_out_of_range_has_no_value():
    assert conversion("JPY", EUR="163").convert(MAX_AMOUNT_MINOR, "EUR", NOON) is None


@given(st.integers(0, 10**12), st.integers(1, 10**9))
def test_converted_amount_is_never_less_and_less_than_one_unit_more(amount, rate):
    exact = Fraction(rate, 10**6) * amount
    converted = conversion(USD=f"{rate // 10**6}.{rate % 10**6:06d}").convert(amount, "USD", NOON)
    assert converted is not None
    assert 0 <= converted - exact < 1


@pytest.mark.parametrize(
    ("moment", "has_rate"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 1, tzinfo=UTC), True),
        (datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 4, 1, tzinfo=UTC), False),
    ],
)
def test_rate_holds_from_its_first_day_to_its_last(moment, has_rate):
    assert (EUR.convert(100, "USD", moment.timestamp()) is not None) is has_rate


AMOUNT = limit("amount", 1000, metric="amount", currency="EUR", is_converted=True)


class Rig:
    """The steps over a memory store in March, every currency covered."""

    def __init__(self, *limits: Limit) -> None:
        self.clock = FakeClock(NOON)
        self.engine = Engine(MemoryLedger(self.clock), Windows(), self.clock)
        plain = tables(*limits)
        plan = replace(plain.plans["m_1"]["create_payment"], conversion=EUR, covers_every_currency=True)
        self.tables: Tables = replace(plain, plans={"m_1": {"create_payment": plan}})

    async def pay(self, amount: int, currency: str) -> Verdict:
        query = self.query(amount, currency)
        return await decide(self.tables, query, Trail("d" * 32), self.clock.monotonic() + 1.0, self.engine)

    @staticmethod
    def query(amount: int, currency: str) -> LimitQuery:
        return limit_query(amount_minor=amount, currency=currency)


async def test_currencies_add_up_in_one_counter():
    rig = Rig(AMOUNT)
    assert isinstance(await rig.pay(500, "EUR"), WithinLimit)
    verdict = await rig.pay(500, "USD")
    assert [(state.quota, state.used) for state in verdict.states] == [("amount", 961)]
    refused = await rig.pay(50, "USD")
    assert getattr(refused, "reason", None) is Reason.QUOTA_EXCEEDED
    states = await look_at(rig.tables, rig.query(1, "USD"), rig.clock.monotonic() + 1.0, rig.engine)
    assert [state.used for state in states] == [961]


@pytest.mark.parametrize("is_single", [False, True], ids=["a day", "one payment"])
async def test_payment_without_a_rate_is_refused_by_its_own_reason(is_single):
    one = replace(AMOUNT, is_single=is_single)
    assert getattr(await Rig(one).pay(1, "GBP"), "reason", None) is Reason.RATE_MISSING
    rig = Rig(one)
    rig.clock.advance(40 * 86_400)
    assert getattr(await rig.pay(1, "USD"), "reason", None) is Reason.RATE_MISSING
    assert isinstance(await Rig(replace(one, is_shadow=True)).pay(1, "GBP"), WithinLimit)


async def test_single_payment_is_compared_as_converted():
    rig = Rig(replace(AMOUNT, is_single=True))
    assert isinstance(await rig.pay(1085, "USD"), WithinLimit)
    assert getattr(await rig.pay(1086, "USD"), "reason", None) is Reason.SINGLE_LIMIT_EXCEEDED


def test_payment_that_nobody_converted_is_not_left_out():
    plan = Rig(AMOUNT).tables.plans["m_1"]["create_payment"]
    assert getattr(find_counters(plan, limit_query()), "reason", None) is Reason.RATE_MISSING


def compiled(tmp_path: Path, quota: tuple[str, str]) -> Tables:
    rates = "base: EUR\nowner: t\nsource: s\nrates:\n"
    rates += "  - {currency: USD, rate: 2, valid_from: 2026-03-01, valid_until: 2026-03-31}\n"
    root = write_set(
        tmp_path, ("tollhouse.yaml", "  - risk.yaml\n", "  - risk.yaml\n  - rates.yaml\n"), ("quotas.yaml", *quota)
    )
    (root / "rates.yaml").write_text(rates)
    return compile_tables(load_policy_set(root))


def test_policy_that_converts_covers_every_currency_and_no_other_plan_pays_for_it(tmp_path):
    converting = ("    currency: EUR\n", "    currency: EUR\n    convert: true\n")
    plans = compiled(tmp_path / "one", converting).plans["m_one"]
    assert plans["pay"].covers_every_currency
    assert plans["pay"].conversion is not None
    assert plans["pay"].conversion.convert(5, "USD", NOON) == 10
    assert [each.is_converted for each in plans["pay"].counted] == [False, True]
    assert (plans["look"].conversion, plans["look"].covers_every_currency) == (None, False)
    plain = compiled(tmp_path / "two", ("limit: 1000", "limit: 1001")).plans["m_one"]["pay"]
    assert (plain.conversion, plain.covers_every_currency) == (None, False)


def test_shadow_quota_that_converts_covers_nothing(tmp_path):
    shadow = ("    currency: EUR\n", "    currency: EUR\n    convert: true\n    mode: shadow\n")
    assert not compiled(tmp_path, shadow).plans["m_one"]["pay"].covers_every_currency
