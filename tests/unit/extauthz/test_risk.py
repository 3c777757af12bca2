"""Rules: a rule is skipped only when it is known not to fire."""

from __future__ import annotations

import pytest

from extauthz.risk import RiskOutcome, RuleSet
from policy.cel import CelRules
from policy.schema.risk import Rule

CEL = CelRules()


def rule(id_: str, when: str, **changes) -> Rule:
    written = {"id": id_, "owner": "risk", "mode": "enforce", "action": "decline", "when": when, "reason": "test"}
    return Rule.model_validate({**written, **changes})


def assess(*rules: Rule, **values) -> RiskOutcome:
    return RuleSet.compile(rules, CEL).assess({name.replace("__", "."): value for name, value in values.items()})


BIG = rule("big", "payment.amount.minor_units > 1000")
COUNTRY = rule("country", 'card.country == "KP"')


def test_no_rule_hits_approves():
    outcome = assess(BIG, COUNTRY, payment__amount__minor_units=5, card__country="DE")
    assert outcome == RiskOutcome()


def test_one_of_many_rules_declines_and_is_named():
    rules = [rule(f"r{number}", f"payment.amount.minor_units == {number}") for number in range(200)]
    outcome = assess(*rules, payment__amount__minor_units=137)
    assert (outcome.verdict, outcome.fired) == ("decline", ("r137",))


def test_shadow_rule_is_recorded_and_does_not_decline():
    outcome = assess(rule("s", "true", mode="shadow"), payment__amount__minor_units=1)
    assert (outcome.verdict, outcome.shadow_fired) == ("approve", ("s",))


def test_decline_is_stricter_than_review():
    review = rule("v", "true", action="review")
    assert assess(review).verdict == "review"
    assert assess(review, rule("d", "true")).verdict == "decline"


@pytest.mark.parametrize(("on_missing", "verdict"), [("match", "decline"), ("skip", "approve")])
def test_missing_attribute_means_what_the_rule_says_and_is_named(on_missing, verdict):
    outcome = assess(rule("c", 'card.country == "KP"', on_missing=on_missing), payment__amount__minor_units=1)
    assert (outcome.verdict, outcome.unknown_attributes) == (verdict, ("card.country",))


def test_missing_attribute_does_not_hide_what_decides_without_it():
    either = rule("e", 'payment.amount.minor_units > 1000 || card.country == "KP"', on_missing="skip")
    assert assess(either, payment__amount__minor_units=5000).verdict == "decline"


def test_rule_without_an_answer_fires():
    overflow = rule("o", "payment.amount.minor_units * 4611686018427387904 > 0")
    division = rule("z", "100 / payment.amount.minor_units > 1")
    assert assess(overflow, payment__amount__minor_units=4).fired == ("o",)
    assert assess(division, payment__amount__minor_units=0).fired == ("z",)


def test_present_asks_for_presence():
    absent = rule("p", '!present("card.country")')
    assert assess(absent, payment__amount__minor_units=1).fired == ("p",)
    assert assess(absent, card__country="DE").fired == ()


def test_order_of_rules_has_no_meaning():
    rules = [BIG, COUNTRY, rule("v", "true", action="review")]
    values = {"payment__amount__minor_units": 5000, "card__country": "KP"}
    assert set(assess(*rules, **values).fired) == set(assess(*reversed(rules), **values).fired)
