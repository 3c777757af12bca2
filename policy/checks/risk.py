"""risk.yaml: rules that compile, and that can be decided from what the body profiles provide."""

from __future__ import annotations

from policy.attributes import attribute_catalogue
from policy.cel import CelInvalid, CelProgram, CelRules
from policy.checks.common import check_known, check_step_up, check_unique
from policy.diagnostics import quote
from policy.names import RISK_FILE
from policy.parts import Parts
from policy.schema.profiles import Profile
from policy.schema.risk import RiskFile, Rule
from policy.schema.routes import Operation, RoutesFile


def check_risk(parts: Parts) -> None:
    """Add every problem of risk.yaml."""
    file = parts.find_sound(RiskFile)
    if file is None:
        return
    check_unique(parts, RISK_FILE, ("rules",), ("id", [rule.id for rule in file.rules]))
    environment = CelRules()
    for index, rule in enumerate(file.rules):
        program = _check_expression(parts, index, rule, environment)
        _check_operations(parts, index, rule)
        _check_step_up(parts, index, rule)
        if program is not None and rule.on_missing == "match":
            _check_provided(parts, index, rule, program)


def _check_expression(parts: Parts, index: int, rule: Rule, environment: CelRules) -> CelProgram | None:
    try:
        return environment.compile(rule.when)
    except CelInvalid as error:
        place = (error.line, error.column)
        parts.add_in_text(RISK_FILE, ("rules", index, "when"), place, ("P080", error.message))
        return None


def _check_operations(parts: Parts, index: int, rule: Rule) -> None:
    path = ("rules", index, "operations")
    check_unique(parts, RISK_FILE, path, ("", rule.operations))
    routes = parts.find(RoutesFile)
    if routes is None:
        return
    operations = [operation.operation for operation in routes.operations]
    for position, name in enumerate(rule.operations):
        check_known(parts, RISK_FILE, (*path, position), ("operation", name, operations))


def _check_step_up(parts: Parts, index: int, rule: Rule) -> None:
    path = ("rules", index)
    if rule.action == "step_up" and rule.step_up is None:
        parts.add(RISK_FILE, (*path, "action"), "P059", "action: step_up needs 'step_up' with what to ask for")
    if rule.step_up is not None:
        check_step_up(parts, RISK_FILE, (*path, "step_up"), rule.step_up)
        if rule.action != "step_up":
            message = f"step_up says nothing with 'action: {rule.action}'; remove one of them"
            parts.add_at_key(RISK_FILE, (*path, "step_up"), "P059", message)


def _check_provided(parts: Parts, index: int, rule: Rule, program: CelProgram) -> None:
    """Warn of a rule that fires on every payment because no body ever carries what it reads."""
    routes = parts.find(RoutesFile)
    if routes is None or not parts.has_all_profiles:
        return
    catalogue = attribute_catalogue()
    from_body = {name for name in program.attributes - program.present_names if catalogue[name].is_from_body}
    profiles = {profile.profile: profile for profile in parts.profiles().values()}
    for operation in routes.operations:
        is_meant = operation.operation in rule.operations if rule.operations else operation.moves_money
        never = sorted(from_body - _provided(operation, profiles)) if is_meant else []
        if never:
            message = (
                f"operation {quote(operation.operation)} never carries {', '.join(never)}, which counts as a match; "
                "add it to the body profile, set 'on_missing: skip' or ask present(...) first"
            )
            parts.add(RISK_FILE, ("rules", index, "when"), "P081", message, "warning")


def _provided(operation: Operation, profiles: dict[str, Profile]) -> set[str]:
    profile = profiles.get(operation.profile or "")
    # The merchant's id is known from the token even when no body is read.
    return {"merchant.id"} | (set(profile.attributes) if profile else set())
