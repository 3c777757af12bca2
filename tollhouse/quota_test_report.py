"""`tollhouse test DIR`: runs the tests of a policy set and says what differed, in few lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree  # written here, never read

from policy.diagnostics import PolicyInvalid, quote
from policy.loader import PolicySet, load_policy_set
from tollhouse.quota_tests import TestResult, run_quota_tests

_SHOWN_DIFFERENCES: Final = 7
"""With title, verdict and what was left out, a failure has at most ten lines."""


def run_policy_tests(directory: Path, junit: Path | None = None) -> int:
    """Print each failure and a summary.

    Args:
        directory: Of the policy set.
        junit: Where the results go as JUnit XML too; nowhere for None. Written only when tests were run.

    Returns:
        0 when every test passed; 1 when one failed, when there is none, or when the set does not load; 2 when
        `directory` is no directory, or `junit` cannot be written.
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
    results = asyncio.run(run_quota_tests(policy))
    if junit is not None:
        try:
            junit.write_bytes(junit_xml(policy, results))
        except OSError as error:
            print(f"tollhouse test: {junit} cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    return _report(policy, results)


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


def junit_xml(policy: PolicySet, results: Sequence[TestResult]) -> bytes:
    """Return results as a JUnit test suite, a test case each."""
    failures = sum(bool(result.differences) for result in results)
    suite = ElementTree.Element("testsuite", name="quotas", tests=str(len(results)), failures=str(failures))
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname=result.file, name=result.name)
        if result.differences:
            lines = failure_lines(policy, result)
            ElementTree.SubElement(case, "failure", message=result.title).text = "\n".join(lines)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def failure_lines(policy: PolicySet, result: TestResult) -> list[str]:
    """Return at most ten lines about one failure: where, which step, what was expected and what came."""
    document = policy.documents[result.file]
    line, column = document.source.place(document.offset(result.path))
    shown = result.differences[:_SHOWN_DIFFERENCES]
    left = len(result.differences) - len(shown)
    more = [f"    and {left} more differ"] if left else []
    first = f"{result.file}:{line}:{column}: FAILED {quote(result.name)}"
    return [first, f"    {result.title}", *(f"    {difference}" for difference in shown), *more]
