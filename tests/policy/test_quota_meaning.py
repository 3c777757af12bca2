"""quotas.yaml: a setting that says nothing beside the others is refused, at its place."""

from __future__ import annotations

import pytest

from helpers.services import copy_policies, edit
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set

HEAD = "quotas:\n  - {id: q, owner: a, operations: [create_payment], "
AMOUNT = "metric: amount, currency: EUR, limit: 5, "
COUNT = "metric: count, limit: 5, "


def problems(tmp_path, quota: str, merchants: str = "") -> list[tuple[str, str]]:
    """Return code and message of what is wrong with a set whose one quota is `quota`."""
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(f"{HEAD}{quota}}}\n")
    if merchants:
        file = policies / "merchants.yaml"
        file.write_text(file.read_text() + merchants)
    try:
        load_policy_set(policies)
    except PolicyInvalid as error:
        return [(each.code, each.message) for each in error.problems if each.severity == "error"]
    return []


@pytest.mark.parametrize(
    "quota",
    [
        AMOUNT + "interval: daily, cut_off: '18:00', time_zone: Asia/Shanghai",
        AMOUNT + "interval: weekly, start_day: sunday",
        AMOUNT + "interval: monthly, start_day: 28",
        AMOUNT + "interval: rolling, length: 30d, anchor: 2026-01-01",
        AMOUNT + "interval: sliding, length: 24h, counts: authorized, warn_at: [80, 95]",
        AMOUNT + "interval: lifetime, on_store_failure: local, local_percent: 50",
        AMOUNT + "interval: daily, ramp_up: [{until_day: 7, percent: 10}, {until_day: 30, percent: 30}]",
        COUNT + "interval: rate, length: 1m, burst: 3",
        COUNT + "interval: daily, per: [platform, operation]",
        COUNT + "interval: per_second, coordination: leased",
        "metric: in_flight, limit: 5, lease: 30s",
        "metric: distinct, distinct: card, interval: sliding, length: 1h, limit: 5",
        "metric: distinct, distinct: card, interval: daily, limit: 5, without: {owner: a, reason: b}",
    ],
)
def test_what_fits_together_is_taken(tmp_path, quota):
    assert problems(tmp_path, quota) == []


@pytest.mark.parametrize(
    ("quota", "says"),
    [
        (AMOUNT + "interval: rate", "amount takes"),
        (AMOUNT + "interval: per_second", "amount takes"),
        (COUNT + "interval: per_transaction", "count takes"),
        (AMOUNT + "interval: daily, coordination: leased", "leased is for counts"),
        (COUNT + "interval: sliding, length: 1h, coordination: leased", "leased is for counts"),
        (COUNT + "interval: daily, counts: authorized, coordination: leased", "use counts: attempts"),
        (COUNT, "needs an interval"),
        ("metric: in_flight, limit: 5, interval: daily", "has no interval"),
        ("metric: in_flight, limit: 10001", "at most 10000"),
        ("metric: distinct, interval: daily, limit: 5", "needs 'distinct'"),
        (AMOUNT + "interval: sliding", "needs 'length'"),
        (AMOUNT + "interval: sliding, length: 91d", "at most 90d"),
        (AMOUNT + "interval: sliding, length: 59s", "at least 60s"),
        (AMOUNT + "interval: daily, length: 1d", "length belongs to"),
        (AMOUNT + "interval: daily, anchor: 2026-01-01", "anchor belongs to"),
        (AMOUNT + "interval: rolling, length: 1d, anchor: 2026-02-30", "is not a date"),
        (AMOUNT + "interval: sliding, length: 1d, cut_off: '01:00'", "cut_off belongs to"),
        (AMOUNT + "interval: weekly, start_day: 3", "a day's name"),
        (AMOUNT + "interval: monthly, start_day: monday", "from 1 to 28"),
        (AMOUNT + "interval: daily, time_zone: Mars/Olympus", "unknown IANA time zone"),
        (COUNT + "interval: daily, burst: 3", "burst belongs to"),
        (COUNT + "interval: rate, counts: authorized", "cannot"),
        (AMOUNT + "interval: per_transaction, warn_at: [80]", "warn_at belongs to"),
        (AMOUNT + "interval: daily, on_store_failure: local", "needs local_percent"),
        (AMOUNT + "interval: daily, local_percent: 10", "local_percent belongs to"),
        (COUNT + "interval: daily, per: [merchant, platform]", "one of merchant, group, platform"),
        (COUNT + "interval: daily, per: [card, card]", "each word once"),
        (COUNT + "interval: daily, per: platform, merchants: {m_active: 3}", "no value of one merchant"),
        (AMOUNT + "interval: daily, ramp_up: [{until_day: 7, percent: 9}, {until_day: 7, percent: 30}]", "grows"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path, quota, says):
    found = problems(tmp_path, quota)
    assert any(code in ("P072", "P070") and says in message for code, message in found), found


OVERRIDE = (
    "overrides:\n  - {merchant: %s, quota: %s, limit: 9, starts: %s, ends: %s, owner: a, reason: b, approver: %s}\n"
)


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        (("m_nobody", "q", "2026-01-01", "2026-01-31", "c"), "P041", "unknown merchant"),
        (("m_active", "r", "2026-01-01", "2026-01-31", "c"), "P041", "unknown quota"),
        (("m_active", "q", "2026-01-01", "2025-12-31", "c"), "P068", "ends before it starts"),
        (("m_active", "q", "2026-01-01", "2026-02-30", "c"), "P033", "is not a date"),
        (("m_active", "q", "2026-01-01", "2026-01-31", "a"), "P068", "owner and approver are one"),
    ],
)
def test_override_names_what_exists_a_time_and_two_people(tmp_path, override, code, says):
    found = problems(tmp_path, AMOUNT + "interval: daily", OVERRIDE % override)
    assert [(each, says in message) for each, message in found] == [(code, True)]


def test_sound_override_is_taken(tmp_path):
    sound = OVERRIDE % ("m_active", "q", "2026-01-01", "2026-01-31", "c")
    assert problems(tmp_path, AMOUNT + "interval: daily", sound) == []


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
def test_what_waits_for_outcomes_that_no_operation_tells_is_warned_of(tmp_path, is_told):
    policies = copy_policies(tmp_path / "policies")
    (policies / "quotas.yaml").write_text(f"{HEAD}{AMOUNT}interval: daily, counts: authorized}}\n")
    routes = policies / "routes.yaml"
    kept = routes.read_text().splitlines(keepends=True)
    routes.write_text("".join(line for line in kept if is_told or "outcome:" not in line))
    (policies / "quotas_test.yaml").unlink()
    manifest = policies / "tollhouse.yaml"
    kept = [line for line in manifest.read_text().splitlines(keepends=True) if "quotas_test.yaml" not in line]
    manifest.write_text("".join(kept))
    assert ("P083" in [warning.code for warning in load_policy_set(policies).warnings]) is not is_told


@pytest.mark.parametrize(
    ("statuses", "doubtful"),
    [("402, 422", 0), ("402, 503", 1), ("408, 409, 425, 429, 500, 599", 6)],
)
def test_status_that_does_not_prove_a_decline_is_warned_of(tmp_path, statuses, doubtful):
    policies = copy_policies(tmp_path / "policies")
    edit(policies / "routes.yaml", "declined: [402]", f"declined: [{statuses}]")
    assert [warning.code for warning in load_policy_set(policies).warnings].count("P084") == 2 * doubtful


@pytest.mark.parametrize("statuses", ["200", "302", "399", "600", "402, 402", "4O2", ""])
def test_status_that_cannot_be_a_decline_is_an_error(tmp_path, statuses):
    policies = copy_policies(tmp_path / "policies")
    edit(policies / "routes.yaml", "declined: [402]", f"declined: [{statuses}]")
    with pytest.raises(PolicyInvalid):
        load_policy_set(policies)
