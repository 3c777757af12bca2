"""rates.yaml: one rate a day and currency, more than nothing, into the currency that quotas convert into."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.policy_sets import SMALL_SET
from policy.diagnostics import PolicyInvalid, Problem
from policy.loader import PolicySet, load_policy_set

AMOUNT = """\
  - id: amount
    owner: risk
    metric: amount
    interval: daily
    operations: [pay]
    currency: EUR
    convert: true
    limit: 1000
"""
USD = "{currency: USD, rate: 0.9214, valid_from: 2026-03-01, valid_until: 2026-03-31}"
NEXT = "{currency: USD, rate: 0.93, valid_from: 2026-04-01, valid_until: 2026-04-30}"


def load(root: Path, *rates: str, base: str = "EUR", quotas: str = AMOUNT) -> PolicySet:
    files = dict(SMALL_SET)
    files["tollhouse.yaml"] += "  - rates.yaml\n"
    files["quotas.yaml"] += quotas
    listed = "".join(f"  - {rate}\n" for rate in rates)
    files["rates.yaml"] = f"base: {base}\nowner: treasury\nsource: the daily sheet\nrates:\n{listed}"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return load_policy_set(root)


def problems(root: Path, *rates: str, **more: str) -> list[Problem]:
    with pytest.raises(PolicyInvalid) as caught:
        load(root, *rates, **more)
    return [problem for problem in caught.value.problems if problem.severity == "error"]


def test_rates_of_days_that_follow_are_taken(tmp_path):
    policy = load(tmp_path, NEXT, USD)
    assert policy.rates is not None
    assert [rate.rate for rate in policy.rates.rates] == ["0.93", "0.9214"]


@pytest.mark.parametrize(
    ("rate", "code", "column"),
    [
        (USD.replace("0.9214", "0.0"), "P082", "rate"),
        (USD.replace("0.9214", "-1"), "P031", "rate"),
        (USD.replace("0.9214", "1e3"), "P031", "rate"),
        (USD.replace("USD", "EUR"), "P082", "currency"),
        (USD.replace("USD", "XAU"), "P071", "currency"),
        (USD.replace("03-31", "02-28"), "P082", "valid_until"),
        (USD.replace("03-31", "03-32"), "P082", "valid_until"),
    ],
)
def test_rate_that_cannot_be_counted_by_is_refused(tmp_path, rate, code, column):
    found = problems(tmp_path, rate)
    assert {(problem.file, problem.line) for problem in found} == {("rates.yaml", 5)}
    assert found[0].column > rate.index(column)
    assert code == found[0].code or code == "P031"


def test_two_rates_for_one_day_are_refused(tmp_path):
    (found,) = problems(tmp_path, USD, NEXT.replace("04-01", "03-31"))
    assert (found.code, found.line) == ("P082", 6)


def test_quota_in_another_currency_than_the_base_is_refused(tmp_path):
    (found,) = problems(tmp_path, USD.replace("USD", "GBP"), base="USD")
    assert (found.code, found.file) == ("P082", "quotas.yaml")


def test_only_an_amount_is_converted(tmp_path):
    count = AMOUNT.replace("amount\n    interval", "count\n    interval").replace("    currency: EUR\n", "")
    (found,) = problems(tmp_path, USD, quotas=count)
    assert (found.code, found.file) == ("P072", "quotas.yaml")
