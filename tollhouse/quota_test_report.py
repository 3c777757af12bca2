"""`tollhouse test DIR`: runs the tests of a policy set and says what differed, in few lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from policy.diagnostics import PolicyInvalid, quote
from policy.loader import PolicySet, load_policy_set
from tollhouse.quota_tests import TestResult, run_quota_tests

_SHOWN_DIFFERENCES: Final = 7
"""With title, verdict and what was left out, a failure has at most ten lines."""


def run_policy_tests(directory: Path) -> int:
    """Print each failure and a summary.

    Args:
        directory: Of the policy set.

    Returns:
        0 when every test passed; 1 when one failed, when there is none, or when the set does not load; 2 when
        `directory` is no directory.
    """
    if not directory.is_dir():
        print(f"tollhouse test: {directory} is not a directory", file=sys.stderr)
        return 2
    try:
        policy = load_policy_set(directory)
    except PolicyInvalid as error:
        for problem in error.problems:
            print(problem)
        print("nothing was tested: the set does not load. Explanations: docs/policy-errors.md")
        return 1
    if not policy.tests:
        print("no tests: write NAME_test.yaml and list it in tollhouse.yaml")
        return 1
    return _report(policy, asyncio.run(run_quota_tests(policy)))


def _report(policy: PolicySet, results: Sequence[TestResult]) -> int:
    failed = [result for result in results if result.differences]
    for result in failed:
        for line in failure_lines(policy, result):
            print(line)
    untested = sorted({quota.id for quota in policy.quotas.quotas} - {id_ for each in results for id_ in each.quotas})
    if untested:
        print(f"no test counts by: {', '.join(untested)}")
    total = f"{len(results)} quota test{'' if len(results) == 1 else 's'}"
    if failed:
        print(f"FAILED {len(failed)} of {total}, revision {policy.revision}")
        return 1
    print(f"OK {total} passed, revision {policy.revision}")
    return 0


def failure_lines(policy: PolicySet, result: TestResult) -> list[str]:
    """Return at most ten lines about one failure: where, which step, what was expected and what came."""
    document = policy.documents[result.file]
    line, column = document.source.place(document.offset(result.path))
    shown = result.differences[:_SHOWN_DIFFERENCES]
    left = len(result.differences) - len(shown)
    more = [f"    and {left} more differ"] if left else []
    first = f"{result.file}:{line}:{column}: FAILED {quote(result.name)}"
    return [first, f"    {result.title}", *(f"    {difference}" for difference in shown), *more]
