"""Grouping rules behind guards changes no verdict: it equals every rule evaluated singly."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extauthz.risk import RuleSet
from policy.cel import CelError, CelRules, CelUnknown
from policy.schema.risk import Rule

CEL = CelRules()
TEXTS = {
    "payment.amount.minor_units": st.sampled_from([0, 1, 5, 2**53 - 1]),
    "payment.amount.currency": st.sampled_from(["EUR", "USD", ""]),
    "card.country": st.sampled_from(["KP", "DE"]),
    "card.bin": st.sampled_from(["411111", "00000000"]),
    "billing.country": st.sampled_from(["KP", "DE"]),
    "device.id": st.sampled_from(["", "a // b", ") || (true"]),
    "auth.scopes": st.sampled_from([[], ["a"], ["a", "b"]]),
    "time.hour": st.sampled_from([0, 23]),
}
ATOMS = st.sampled_from(
    [
        "true",
        "false",
        "payment.amount.minor_units > 1",
        "payment.amount.minor_units * 9223372036854775807 > 1",
        "1 / payment.amount.minor_units > 0",
        'payment.amount.currency == "EUR"',
        'card.country == "KP"',
        "card.country != billing.country",
        'present("card.country") && card.country in ["KP"]',
        '!present("device.id")',
        'device.id == ") || (true"',
        'device.id.matches("a.*b") // a comment ends here )',
        "int(card.bin) > 5",
        'auth.scopes.exists(s, s == "b")',
        'auth.scopes[1] == "b"',
        "time.hour in [23, 0]",
    ]
)


def combined(parts: tuple[str, str, str]) -> str:
    left, operator, right = parts
    return f"(\n{left}\n) {operator} (\n{right}\n)"


EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(combined),
        inner.map(lambda text: f"!(\n{text}\n)"),
        st.tuples(inner, inner, inner).map(lambda three: "({}\n) ? ({}\n) : ({}\n)".format(*three)),
    ),
    max_leaves=5,
)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "when": EXPRESSIONS,
            "mode": st.sampled_from(["enforce", "shadow"]),
            "action": st.sampled_from(["decline", "review"]),
            "on_missing": st.sampled_from(["match", "skip"]),
        }
    ),
    max_size=8,
)


def fires(rule: Rule, values: dict[str, object]) -> bool:
    result = CEL.compile(rule.when).evaluate(values)
    if isinstance(result, CelUnknown):
        return rule.on_missing == "match"
    return isinstance(result, CelError) or result is True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(written=RULES, values=st.fixed_dictionaries({}, optional=TEXTS))
def test_grouped_rules_say_what_each_rule_says_singly(written, values):
    rules = [
        Rule.model_validate({"id": f"r{number}", "owner": "risk", "reason": "test", **rule})
        for number, rule in enumerate(written)
    ]
    singly = [rule for rule in rules if fires(rule, values)]

    outcome = RuleSet.compile(rules, CEL).assess(values)

    assert sorted(outcome.fired) == sorted(rule.id for rule in singly if rule.mode == "enforce")
    assert sorted(outcome.shadow_fired) == sorted(rule.id for rule in singly if rule.mode == "shadow")
    actions = {rule.action for rule in singly if rule.mode == "enforce"}
    expected = "decline" if "decline" in actions else "review" if "review" in actions else "approve"
    assert outcome.verdict == expected
