"""The set as a whole: all mistakes in one run, warnings, what checks across files allow, and what is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.policy_sets import write_set
from helpers.services import copy_policies, edit
from policy.diagnostics import MAX_PROBLEMS, PolicyInvalid
from policy.loader import PolicySet, load_policy_set
from policy.schema.quotas import QuotasFile

SAMPLE = Path(__file__).parents[2] / "policies"


def codes(root) -> list[tuple[str, str, str]]:
    try:
        policy = load_policy_set(root)
    except PolicyInvalid as error:
        return [(problem.file, problem.code, problem.severity) for problem in error.problems]
    return [(problem.file, problem.code, problem.severity) for problem in policy.warnings]


def test_sample_set_loads_without_a_warning():
    assert load_policy_set(SAMPLE).warnings == ()


def test_loaded_set_holds_every_file(tmp_path):
    policy = load_policy_set(write_set(tmp_path))
    assert (set(policy.profiles), policy.profile_files["plain"]) == ({"plain"}, "profiles/plain.yaml")
    assert policy.quotas.quotas[1].merchants == {"m_one": 500}
    assert PolicySet.files[QuotasFile] == "quotas.yaml"


def test_problem_of_a_later_step_stands_at_its_node(tmp_path):
    policy = load_policy_set(write_set(tmp_path))
    problem = policy.problem("risk.yaml", ("rules", 0, "when"), "P080", "no")
    assert (problem.file, problem.line, problem.column) == ("risk.yaml", 6, 11)
    assert policy.problem("other.yaml", ("a",), "P080", "no").line == 1
    assert policy.problem("risk.yaml", ("rules", 7, "when"), "P080", "no").line == 2


def test_all_mistakes_of_all_files_come_in_one_run(tmp_path):
    write_set(
        tmp_path,
        ("providers.yaml", "RS256", "RS255"),
        ("routes.yaml", "moves_money: true", "moves_money: maybe"),
        ("merchants.yaml", "tier: large", "tier: larg"),
        ("risk.yaml", "card.country", "card.contry"),
        ("risk.yaml", "owner: ops", "owner: ops\n    colour: red"),
    )
    found = codes(tmp_path)
    assert {file for file, _, _ in found} == {"providers.yaml", "routes.yaml", "merchants.yaml", "risk.yaml"}
    assert found == sorted(found, key=lambda item: item[0])


def test_broken_file_does_not_make_others_complain_about_it(tmp_path):
    write_set(tmp_path, ("routes.yaml", "moves_money: true", "moves_money: maybe"))
    assert codes(tmp_path) == [("routes.yaml", "P033", "error")]


def test_broken_profile_does_not_make_routes_complain_about_it(tmp_path):
    write_set(tmp_path, ("profiles/plain.yaml", "profile: plain", "profile: [plain]"))
    assert codes(tmp_path) == [("profiles/plain.yaml", "P032", "error")]


def test_flood_of_mistakes_is_capped(tmp_path):
    many = "".join(f"x{number}: 1\n" for number in range(MAX_PROBLEMS * 5))
    write_set(tmp_path, ("risk.yaml", "rules:\n", f"{many}rules:\n"))
    assert len(codes(tmp_path)) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("path", "is_ambiguous"),
    [
        pytest.param("/v1/payments/{other}", True, id="the same template under another name"),
        pytest.param("/v1/payments/recent", False, id="a literal beats a template"),
        pytest.param("/v1/{kind}/recent", True, id="each one is more literal at one place"),
        pytest.param("/v1/{kind}/{id}", False, id="less literal everywhere"),
        pytest.param("/v1/refunds/{id}", False, id="different literals"),
        pytest.param("/v1/payments/", False, id="a trailing slash is no value of a template"),
    ],
)
def test_overlapping_routes(tmp_path, path, is_ambiguous):
    another = f"""\
  - operation: another
    method: GET
    path: "{path}"
    scopes: [look]
    merchant: {{claim: /merchant_id}}
    moves_money: false
"""
    write_set(tmp_path, ("routes.yaml", "    moves_money: false\n", f"    moves_money: false\n{another}"))
    assert codes(tmp_path) == ([("routes.yaml", "P056", "error")] if is_ambiguous else [])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([("quotas.yaml", "    limit: 1000\n", "")], ["m_two"], id="a merchant without value"),
        pytest.param(
            [("quotas.yaml", "limit: 1000", "limit: 1000\n    mode: shadow")], ["m_one", "m_two"], id="shadow"
        ),
        pytest.param(
            [("quotas.yaml", "    limit: 1000\n", "    unlimited: {m_two: {owner: a, reason: b}}\n")],
            [],
            id="unlimited in writing",
        ),
        pytest.param([("quotas.yaml", "    limit: 1000\n", "    tiers: {large: 1}\n")], [], id="by tier"),
    ],
)
def test_payments_without_amount_quota_are_warned_of(tmp_path, changes, expected):
    warnings = load_policy_set(write_set(tmp_path, *changes)).warnings
    assert [problem.code for problem in warnings] == (["P076"] if expected else [])
    assert all(merchant in warnings[0].message for merchant in expected)


@pytest.mark.parametrize(
    ("when", "on_missing", "is_warned"),
    [
        pytest.param('device.id == "x"', "match", True, id="never there, counts as match"),
        pytest.param('device.id == "x"', "skip", False, id="never there, skipped"),
        pytest.param('present("device.id") && device.id == "x"', "match", False, id="asked for first"),
        pytest.param('card.country == "x" && merchant.tier == "small"', "match", False, id="provided"),
    ],
)
def test_rule_that_always_fires_is_warned_of(tmp_path, when, on_missing, is_warned):
    change = ("risk.yaml", 'when: card.country in ["KP"]', f"when: '{when}'\n    on_missing: {on_missing}")
    warnings = load_policy_set(write_set(tmp_path, change)).warnings
    assert [problem.code for problem in warnings] == (["P081"] if is_warned else [])


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("owner: ops", "ownr: ops", "did you mean 'owner'"),
        ("mode: enforce", "mode: enforc", "did you mean 'enforce'"),
        ("card.country", "card.contry", "did you mean 'card.country'"),
    ],
)
def test_near_miss_gets_a_hint(tmp_path, old, new, hint):
    with pytest.raises(PolicyInvalid, match=hint):
        load_policy_set(write_set(tmp_path, ("risk.yaml", old, new)))


def test_spelling_is_kept(tmp_path):
    write_set(
        tmp_path,
        ("merchants.yaml", "    time_zone: UTC\n", "    time_zone: UTC\n    country: NO\n    mcc: 0742\n"),
        ("risk.yaml", "reason: test", "reason: 1e3"),
    )
    policy = load_policy_set(tmp_path)
    merchant = policy.merchants.merchants[1]
    assert (merchant.country, merchant.mcc, policy.risk.rules[0].reason) == ("NO", "0742", "1e3")


def test_mistakes_beside_a_broken_item_are_told_in_the_same_run(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    edit(policies / "risk.yaml", "  - id: other_currency\n    owner: ", "  - id: other_currency\n    ownr: ")
    edit(policies / "risk.yaml", 'card.funding == "prepaid"', 'card.fnding == "prepaid"')
    edit(policies / "quotas.yaml", "    limit: 2000\n", "    limit: 2e3\n")
    edit(policies / "quotas.yaml", "      m_single: 5000\n", "      m_sngle: 5000\n")
    with pytest.raises(PolicyInvalid) as raised:
        load_policy_set(policies)
    found = [(problem.file, problem.code) for problem in raised.value.problems if problem.severity == "error"]
    unknown_attribute = next(problem for problem in raised.value.problems if problem.code == "P080")
    lines = (policies / "risk.yaml").read_text().splitlines()
    assert "card.fnding" in lines[unknown_attribute.line - 1]
    assert found.count(("quotas.yaml", "P033")) == 1
    assert len(found) == 5, found


def test_broken_item_is_not_told_as_unknown_where_it_is_named(tmp_path):
    policies = copy_policies(tmp_path / "policies")
    edit(policies / "merchants.yaml", "  - id: m_daily\n    name: ", "  - id: m_daily\n    nme: ")
    with pytest.raises(PolicyInvalid) as raised:
        load_policy_set(policies)
    assert {problem.file for problem in raised.value.problems} == {"merchants.yaml"}


def test_operation_with_more_counters_than_a_hit_may_have_is_a_problem(tmp_path):
    write_set(tmp_path)
    quota = "  - {id: more_NUMBER, owner: o, metric: count, interval: daily, operations: [look], limit: 1}\n"
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text(quotas.read_text() + "".join(quota.replace("NUMBER", str(n)) for n in range(63)))
    assert load_policy_set(tmp_path).quotas.quotas
    quotas.write_text(quotas.read_text() + quota.replace("NUMBER", "64"))
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(tmp_path)
    (problem,) = caught.value.problems
    assert problem.code == "P078"
    assert "'look'" in problem.message
