"""docs/quotas.md: every example loads without a word, does what the test below it says, and leaves nothing out."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from helpers.services import copy_policies
from policy.loader import load_policy_set
from policy.schema.quotas import Dimension, Interval, Metric, Quota
from tollhouse.quota_test_report import run_policy_tests

PAGE = (Path(__file__).parents[2] / "docs" / "quotas.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
QUOTAS = [block for block in BLOCKS if block.startswith("quotas:")]
TESTED = [pair for pair in pairwise(BLOCKS) if pair[1].startswith("quota_tests:")]
COVER = """\
  - id: cover
    owner: platform
    metric: amount
    interval: daily
    operations: [create_payment, refund_payment]
    currency: EUR
    limit: 1000000
"""


def written(tmp_path: Path, quotas: str, tests: str | None = None) -> Path:
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(quotas + COVER)
    if tests is not None:
        (policies / "quotas_test.yaml").write_text(tests)
    return policies


@pytest.mark.parametrize("quotas", QUOTAS, ids=lambda text: re.findall(r"id: (\w+)", text)[0])
def test_an_example_loads_without_a_word(tmp_path, quotas):
    assert load_policy_set(written(tmp_path, quotas)).warnings == ()


@pytest.mark.parametrize(("quotas", "tests"), TESTED, ids=lambda text: re.findall(r"(?:id|name): (\w+)", text)[0])
def test_an_example_does_what_its_test_says(tmp_path, capsys, quotas, tests):
    assert quotas.startswith("quotas:")
    assert run_policy_tests(written(tmp_path, quotas, tests)) == 0, capsys.readouterr().out


def test_every_word_has_an_example_or_a_row():
    for word in (*get_args(Metric), *get_args(Interval), *get_args(Dimension), *Quota.model_fields):
        assert re.search(rf"\b{word}\b", PAGE), word
    shown = {*re.findall(r"metric: (\w+)", PAGE), *re.findall(r"interval: (\w+)", PAGE)}
    assert {*get_args(Metric), *get_args(Interval)} - shown == {"per_second"}


def test_all_tests_of_the_page_are_run():
    assert len(TESTED) == sum(block.startswith("quota_tests:") for block in BLOCKS) == len(QUOTAS) - 1
