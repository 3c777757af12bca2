"""Print how many tests ran, and fail when fewer ran than should have.

Usage: counts.py [--skips some|none|any] REPORT

* some (usual): at least one test ran, and no test of the envoy transport was skipped where libpython is.
* none: at least one test ran and none was skipped.
* any: all may have been skipped.

A test that failed is a failure under each of them.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET

import find_libpython


def main(arguments: list[str]) -> int:
    """Read the JUnit report, print the counts, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--skips", choices=("some", "none", "any"), default="some")
    parser.add_argument("report")
    options = parser.parse_args(arguments)
    cases = list(ET.parse(options.report).getroot().iter("testcase"))  # noqa: S314
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    print(f"{len(cases) - len(skipped) - len(failed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    for case in skipped:
        print(f"skipped: {case.get('classname')}.{case.get('name')}")
    problem = "" if options.skips == "any" else _too_few(cases, skipped, options.skips)
    if problem:
        print(problem, file=sys.stderr)
    return 1 if failed or problem else 0


def _too_few(cases: list[ET.Element], skipped: list[ET.Element], skips: str) -> str:
    if len(cases) == len(skipped):
        return "no test ran"
    if skips == "none" and skipped:
        return "a test was skipped where none may be"
    if find_libpython.find_libpython() and any("envoy" in (case.get("name") or "") for case in skipped):
        return "a test of the envoy transport was skipped although libpython is here"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
