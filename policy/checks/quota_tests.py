"""NAME_test.yaml: every step of a test says one thing that can happen.

What a test expects is not looked up: an unknown merchant may be what it is about, and a quota that is gone makes the
test fail when it is run, not the set when it is loaded: an urgent change must not wait for its tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from policy.checks.common import check_unique
from policy.diagnostics import quote
from policy.parts import Parts
from policy.positions import Path
from policy.schema.durations import duration_seconds
from policy.schema.quota_tests import QuotaTest, TestStep

_CODE: Final = "P079"


def check_quota_tests(parts: Parts) -> None:
    """Add every problem of every test file."""
    for name, file in parts.tests().items():
        check_unique(parts, name, ("quota_tests",), ("name", [test.name for test in file.quota_tests]))
        for index, test in enumerate(file.quota_tests):
            for path, message in (*_clock_faults(test), *_step_faults(test), *_name_faults(test)):
                parts.add(name, ("quota_tests", index, *path), _CODE, message)


def moment_seconds(text: str) -> float:
    """Return seconds since 1970 of a `Moment`; raises ValueError for one that no calendar has."""
    return datetime.fromisoformat(text).timestamp()


def _clock_faults(test: QuotaTest) -> Iterator[tuple[Path, str]]:
    now = _moment(test.at)
    if now is None:
        yield ("at",), f"{quote(test.at)} is not a date and time"
        return
    for index, step in enumerate(test.steps):
        if step.after is not None:
            now += duration_seconds(step.after)
        if step.at is not None:
            path, moment = ("steps", index, "at"), _moment(step.at)
            if step.after is not None:
                yield path, "write 'at' or 'after', not both"
            elif moment is None:
                yield path, f"{quote(step.at)} is not a date and time"
            elif moment < now:
                yield path, "the clock never goes back"
            else:
                now = moment
        if step.every is not None:
            now += duration_seconds(step.every) * (step.times - 1)


def _moment(text: str) -> float | None:
    try:
        return moment_seconds(text)
    except (ValueError, OverflowError):
        return None


def _step_faults(test: QuotaTest) -> Iterator[tuple[Path, str]]:
    for index, step in enumerate(test.steps):
        path = ("steps", index)
        if step.pay is not None and step.outcome is not None:
            yield (*path, "outcome"), "a step is a payment or an outcome; write two steps"
        if step.pay is None and (step.times != 1 or step.id is not None):
            yield path, "'times' and 'id' belong to 'pay'"
        if step.every is not None and step.times == 1:
            yield (*path, "every"), "'every' belongs to 'times'"
        if step.outcome is None and step.of is not None:
            yield (*path, "of"), "'of' belongs to 'outcome'"
        if step.pay is None and step.outcome is None:
            yield from _empty_step_faults(step, path)
        if step.pay is not None and (step.pay.amount_minor is None) != (step.pay.currency is None):
            yield (*path, "pay"), "amount_minor and currency come together or not at all"
        if step.outcome is not None and step.expect is not None and not _is_about_counts(step):
            yield (*path, "expect"), "of an outcome only 'used' and 'remaining' can be expected"


def _empty_step_faults(step: TestStep, path: Path) -> Iterator[tuple[Path, str]]:
    if step.at is None and step.after is None:
        yield path, "the step does nothing: write 'pay', 'outcome', 'at' or 'after'"
    if step.expect is not None:
        yield (*path, "expect"), "nothing happens here that could be expected; write it below 'pay' or 'outcome'"


def _is_about_counts(step: TestStep) -> bool:
    expect = step.expect
    return expect is None or (
        expect.decision,
        expect.reason,
        expect.quota,
        expect.over,
        expect.retry_after_seconds,
    ) == ((None,) * 5)


def _name_faults(test: QuotaTest) -> Iterator[tuple[Path, str]]:
    known: set[str] = set()
    has_payment = False
    for index, step in enumerate(test.steps):
        path = ("steps", index)
        if step.id is not None and step.id in known:
            yield (*path, "id"), f"{quote(step.id)} names a payment above"
        if step.outcome is not None and not has_payment:
            yield (*path, "outcome"), "no payment stands above that could have an outcome"
        elif step.of is not None and step.of not in known:
            yield (*path, "of"), f"no payment above has the id {quote(step.of)}"
        has_payment = has_payment or step.pay is not None
        known |= {step.id} if step.id is not None else set()
