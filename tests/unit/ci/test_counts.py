"""What .ci/counts.py takes for enough tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = Path(__file__).parents[3] / ".ci" / "counts.py"
PASSED, FAILED, SKIPPED = "", "<failure/>", "<skipped/>"


def counted(tmp_path: Path, outcomes: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    cases = "".join(
        f'<testcase classname="tests.some" name="case_{number}">{outcome}</testcase>'
        for number, outcome in enumerate(outcomes)
    )
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return subprocess.run([sys.executable, COUNTS, *options, report], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("skips", "outcomes", "code"),
    [
        ("some", [PASSED, SKIPPED], 0),
        ("some", [SKIPPED, SKIPPED], 1),
        ("some", [], 1),
        ("none", [PASSED, PASSED], 0),
        ("none", [PASSED, SKIPPED], 1),
        ("none", [], 1),
        ("any", [SKIPPED, SKIPPED], 0),
        ("any", [], 0),
        ("some", [PASSED, FAILED], 1),
        ("none", [PASSED, FAILED], 1),
        ("any", [SKIPPED, FAILED], 1),
    ],
)
def test_exit_code(tmp_path, skips, outcomes, code):
    assert counted(tmp_path, outcomes, "--skips", skips).returncode == code


def test_counts_and_skipped_tests_are_printed(tmp_path):
    done = counted(tmp_path, [PASSED, SKIPPED, FAILED])
    assert done.stdout == "1 passed, 1 failed, 1 skipped\nskipped: tests.some.case_1\n"
