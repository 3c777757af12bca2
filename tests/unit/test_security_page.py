"""docs/security.md names tests and cases; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.cases.not_built import NOT_BUILT
from helpers.cases.registry import load_cases

ROOT = Path(__file__).parents[2]


def _rows() -> list[str]:
    text = (ROOT / "docs/security.md").read_text("utf-8")
    table = text.split("## Attacks on tokens")[1].split("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def test_every_attack_names_a_test_that_is_there():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    replayed = {case_id for case_id in load_cases() if case_id not in NOT_BUILT}
    rows = _rows()
    assert len(rows) > 30
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        cases = set(re.findall(r"\b([A-Z]\d\d)\b", row))
        assert named | cases, f"no test in: {row}"
        assert named <= defined, named - defined
        assert cases <= replayed, cases - replayed
