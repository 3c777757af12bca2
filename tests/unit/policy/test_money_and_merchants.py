"""Currencies, and merchants by id."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policy.merchants import MerchantTable, time_zone_names
from policy.money import minor_unit_exponent
from policy.schema.merchants import MerchantsFile


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        ("EUR", 2),
        ("JPY", 0),
        ("ISK", 0),
        ("BHD", 3),
        ("CLF", 4),
        ("XAU", None),
        ("XTS", None),
        ("XXX", None),
        ("eur", None),
        ("EURO", None),
        ("", None),
    ],
)
def test_minor_units_are_those_of_iso_4217(code, exponent):
    assert minor_unit_exponent(code) == exponent


def merchant(**changes) -> dict:
    written = {"id": "m", "name": "M", "status": "active", "tier": "t", "time_zone": "Europe/Berlin"}
    return {**written, **changes}


def test_table_finds_merchants_by_id_and_nothing_else():
    suspended = merchant(id="s", status="suspended", suspension={"owner": "o", "reason": "r"}, mcc="5411", country="DE")
    table = MerchantTable.compile(MerchantsFile.model_validate({"tiers": ["t"], "merchants": [merchant(), suspended]}))
    active, stopped = table.get("m"), table.get("s")
    assert active is not None
    assert stopped is not None
    assert (active.is_active, active.mcc, active.country) == (True, None, None)
    assert (stopped.is_active, stopped.mcc, stopped.country, stopped.tier) == (False, "5411", "DE", "t")
    assert table.get("M") is None


def test_zone_of_a_merchant_knows_summer_time():
    table = MerchantTable.compile(MerchantsFile.model_validate({"tiers": ["t"], "merchants": [merchant()]}))
    found = table.get("m")
    assert found is not None
    hours = [datetime(2026, month, 1, 12, tzinfo=UTC).astimezone(found.zone).hour for month in (1, 7)]
    assert hours == [13, 14]


def test_zone_names_are_names_and_no_paths():
    assert {"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata"} <= time_zone_names()
    assert not any(".." in name or name.startswith("/") for name in time_zone_names())
    assert not {"localtime", "posixrules"} & time_zone_names()
