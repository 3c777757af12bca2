"""Print how many tests ran; fail when none did, or when the fast transport was skipped without need."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import find_libpython


def main(path: str) -> int:
    """Read the JUnit report at `path` and return the exit code."""
    cases = list(ET.parse(path).getroot().iter("testcase"))  # noqa: S314
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    ran = len(cases) - len(skipped)
    print(f"{ran - len(failed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    for case in skipped:
        print(f"skipped: {case.get('classname')}.{case.get('name')}")
    if ran == 0:
        print("no test ran", file=sys.stderr)
        return 1
    without_need = [case for case in skipped if "envoy" in (case.get("name") or "")]
    if find_libpython.find_libpython() and without_need:
        print("a test of the envoy transport was skipped although libpython is here", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
