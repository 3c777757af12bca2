"""Step 5: assess a payment with the rules of risk.yaml.

Called by the pipeline once the caller is authorized. Its law: a rule is skipped only when it is known
not to fire. Rules are first tried together, joined with `||` into guards; a guard that is plainly false
clears its rules, anything else (true, unknown, error) has each rule evaluated singly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from policy.cel import BoundValues, CelError, CelProgram, CelRules, CelUnknown
from policy.schema.risk import Rule

Verdict = Literal["approve", "review", "decline"]

_KNOWN_FOR_EVERY_PAYMENT: Final = frozenset(
    {
        "payment.amount.minor_units",
        "payment.amount.currency",
        "merchant.id",
        "merchant.tier",
        "request.operation",
        "request.method",
        "request.host",
        "auth.client_id",
        "auth.subject",
        "auth.issuer",
        "auth.scopes",
        "auth.age_seconds",
        "time.unix_seconds",
        "time.hour",
        "time.weekday",
    }
)
"""Attributes that do not part groups, because a payment without them does not reach the rules."""


@dataclass(frozen=True, slots=True)
class RiskOutcome:
    """What the rules said.

    Attributes:
        verdict: The strictest action of the enforced rules that fired.
        fired: Ids of enforced rules that fired.
        shadow_fired: Ids of shadow rules that would have fired.
        unknown_attributes: Attributes that a rule needed and the payment lacks.
    """

    verdict: Verdict = "approve"
    fired: tuple[str, ...] = ()
    shadow_fired: tuple[str, ...] = ()
    unknown_attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    rule: Rule
    program: CelProgram


@dataclass(frozen=True, slots=True)
class _Group:
    guards: tuple[CelProgram, ...]
    rules: tuple[_CompiledRule, ...]


class RuleSet:
    """The rules of one operation, compiled."""

    def __init__(self, groups: tuple[_Group, ...], cel: CelRules) -> None:
        self._groups = groups
        self._cel = cel

    @classmethod
    def compile(cls, rules: Iterable[Rule], cel: CelRules) -> RuleSet:
        """Compile rules that `policy` has already checked; grouped by the optional attributes they need.

        A rarely sent attribute then makes only the guard of its own group unknown.
        """
        groups: defaultdict[frozenset[str], list[_CompiledRule]] = defaultdict(list)
        for rule in rules:
            program = cel.compile(rule.when)
            groups[program.attributes - _KNOWN_FOR_EVERY_PAYMENT].append(_CompiledRule(rule, program))
        return cls(
            tuple(
                _Group(tuple(cel.compile_any([each.rule.when for each in group])), tuple(group))
                for group in groups.values()
            ),
            cel,
        )

    def assess(self, values: Mapping[str, Any]) -> RiskOutcome:
        """Evaluate all rules.

        Args:
            values: Attribute name to native value; an attribute that is not known is left out.
        """
        if not self._groups:
            return RiskOutcome()
        bound = self._cel.bind(values)
        suspects = [
            compiled
            for group in self._groups
            if any(guard.evaluate_bound(bound) is not False for guard in group.guards)
            for compiled in group.rules
        ]
        return _outcome(suspects, bound) if suspects else RiskOutcome()


def _outcome(suspects: Sequence[_CompiledRule], bound: BoundValues) -> RiskOutcome:
    fired: list[Rule] = []
    unknown: list[str] = []
    for compiled in suspects:
        if _fires(compiled, bound, unknown):
            fired.append(compiled.rule)
    enforced = [rule for rule in fired if rule.mode == "enforce"]
    return RiskOutcome(
        verdict=_strictest(enforced),
        fired=tuple(rule.id for rule in enforced),
        shadow_fired=tuple(rule.id for rule in fired if rule.mode == "shadow"),
        unknown_attributes=tuple(dict.fromkeys(unknown)),
    )


def _fires(compiled: _CompiledRule, bound: BoundValues, unknown: list[str]) -> bool:
    result = compiled.program.evaluate_bound(bound)
    match result:
        case bool():
            return result
        case CelUnknown(attribute=attribute):
            unknown.append(attribute)
            return compiled.rule.on_missing == "match"
        case CelError():
            # Overflow, division by zero: the rule has no answer, and no answer is not a pass.
            return True
        case _:
            assert_never(result)


def _strictest(rules: Sequence[Rule]) -> Verdict:
    actions = {rule.action for rule in rules}
    if "decline" in actions:
        return "decline"
    return "review" if "review" in actions else "approve"
