"""Whatever is kept as a keyed hash is named where it is written, and the set is not served without the keys."""

from __future__ import annotations

import pytest

from helpers.policy_sets import write_set
from policy.card_numbers import missing_card_keys
from policy.loader import load_policy_set
from tollhouse.check import run_check

ONCE = ("routes.yaml", "    moves_money: true\n", "    moves_money: true\n    idempotency: {mode: upstream_enforced}\n")
PAYER = ("quotas.yaml", "    operations: [pay]\n", "    operations: [pay]\n    per: [merchant, payer]\n")
PAYER_READ = ("profiles/plain.yaml", "attributes:\n", "attributes:\n  payer.id: {pointer: /payer}\n")


@pytest.mark.parametrize(
    ("changes", "file", "words"),
    [
        ([ONCE], "routes.yaml", "repeated payments in routes.yaml"),
        ([PAYER, PAYER_READ], "quotas.yaml", "payers, devices or addresses in quotas.yaml"),
    ],
)
def test_need_is_named_where_it_stands(tmp_path, capsys, changes, file, words):
    root = write_set(tmp_path, *changes)
    (missing,) = missing_card_keys(load_policy_set(root))
    assert (missing.code, missing.file) == ("P044", file)
    assert run_check(root, "text", False) == 0
    assert words in capsys.readouterr().out


def test_key_that_is_looked_at_and_not_trusted_needs_none(tmp_path):
    required = (*ONCE[:2], ONCE[2].replace("upstream_enforced", "required"))
    assert missing_card_keys(load_policy_set(write_set(tmp_path, required))) == ()
