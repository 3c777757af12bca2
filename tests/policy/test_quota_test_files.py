"""NAME_test.yaml: a test that cannot happen as it is written is refused, at its place, all mistakes in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.policy_sets import write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet, load_policy_set

PAY = "pay: {merchant: m_one, operation: pay, amount_minor: 5, currency: EUR}"
LISTED = ("tollhouse.yaml", "  - risk.yaml", "  - risk.yaml\n  - limits_test.yaml")


def load(tmp_path: Path, *steps: str, at: str = "2026-03-02T09:00:00Z") -> PolicySet:
    root = write_set(tmp_path, LISTED)
    lines = ["quota_tests:", "  - name: one", f"    at: {at}", "    steps:", *(f"      - {{{step}}}" for step in steps)]
    (root / "limits_test.yaml").write_text("\n".join(lines) + "\n")
    return load_policy_set(root)


@pytest.mark.parametrize(
    "steps",
    [
        (PAY,),
        (f"{PAY}, times: 3, every: 1m, id: third", "outcome: declined, of: third, expect: {used: {rate: 2}}"),
        ("after: 1h", f"at: '2026-03-02T12:00:00+01:00', {PAY}, expect: {{over: [], remaining: {{rate: 9}}}}"),
        (PAY, "outcome: lost", "outcome: approved"),
    ],
)
def test_what_can_happen_is_a_test(tmp_path, steps):
    assert len(load(tmp_path, *steps).tests["limits_test.yaml"].quota_tests[0].steps) == len(steps)


@pytest.mark.parametrize(
    ("steps", "line", "message"),
    [
        (("times: 2",), 5, "'times' and 'id' belong to 'pay'"),
        ((f"{PAY}, outcome: declined",), 5, "a step is a payment or an outcome; write two steps"),
        ((PAY, "of: first"), 6, "'of' belongs to 'outcome'"),
        (("outcome: declined", PAY), 5, "no payment stands above that could have an outcome"),
        ((PAY, "outcome: declined, of: another"), 6, "no payment above has the id 'another'"),
        ((f"{PAY}, id: one", f"{PAY}, id: one"), 6, "'one' names a payment above"),
        ((f"after: 1m, at: '2026-03-02T09:05:00Z', {PAY}",), 5, "write 'at' or 'after', not both"),
        ((f"at: '2026-03-02T08:00:00Z', {PAY}",), 5, "the clock never goes back"),
        ((f"{PAY}, times: 61, every: 1m", f"at: '2026-03-02T09:59:00Z', {PAY}"), 6, "the clock never goes back"),
        ((f"at: '2026-02-30T08:00:00Z', {PAY}",), 5, "'2026-02-30T08:00:00Z' is not a date and time"),
        ((f"{PAY}, every: 1m",), 5, "'every' belongs to 'times'"),
        (("after: 1m, expect: {used: {rate: 1}}",), 5, "nothing happens here that could be expected"),
        ((PAY, "outcome: declined, expect: {reason: quota_exceeded}"), 6, "of an outcome only 'used' and"),
        (("pay: {merchant: m_one, operation: pay, currency: EUR}",), 5, "amount_minor and currency come together"),
    ],
)
def test_what_cannot_happen_is_refused(tmp_path, steps, line, message):
    with pytest.raises(PolicyInvalid) as caught:
        load(tmp_path, *steps)
    found = [(each.line, each.code, each.message) for each in caught.value.problems if each.severity == "error"]
    assert any(place == line and code == "P079" and message in text for place, code, text in found), found


def test_a_step_that_does_nothing_is_refused(tmp_path):
    with pytest.raises(PolicyInvalid, match="the step does nothing"):
        load(tmp_path, "times: 1")


def test_a_clock_that_no_calendar_has_is_refused(tmp_path):
    with pytest.raises(PolicyInvalid, match="2026-13-02T09:00:00Z' is not a date and time"):
        load(tmp_path, PAY, at="2026-13-02T09:00:00Z")


def test_a_number_is_never_a_card(tmp_path):
    with pytest.raises(PolicyInvalid, match="a small letter first"):
        load(tmp_path, "pay: {merchant: m_one, operation: pay, card: '4111111111111111'}")


def test_a_test_file_that_is_not_listed_is_an_error(tmp_path):
    root = write_set(tmp_path)
    (root / "limits_test.yaml").write_text(f"quota_tests: [{{name: a, at: 2026-03-02T09:00:00Z, steps: [{{{PAY}}}]}}]")
    with pytest.raises(PolicyInvalid, match="P022"):
        load_policy_set(root)
