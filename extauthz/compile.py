"""Turns a checked policy set into this service's tables; runs at load, never on the request path."""

from __future__ import annotations

from collections.abc import Iterable

from chassis.clock import Clock
from extauthz.card_keys import CardKeyring
from extauthz.payment import BodyReader
from extauthz.risk import RuleSet
from extauthz.routes import RouteTable
from extauthz.tables import OperationPolicy, Tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import compile_providers
from policy.card_numbers import missing_card_keys
from policy.cel import CelRules
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet
from policy.merchants import MerchantTable
from policy.schema.routes import Operation


def compile_tables(
    policy: PolicySet, *, keys: KeySets, cache: ClaimsCache, clock: Clock, keyring: CardKeyring | None = None
) -> Tables:
    """Compile the set.

    Args:
        policy: A set without problems, from `load_policy_set`.
        keys: The process-wide key sets; they outlive a reload.
        cache: The process-wide cache of verified claims; its entries belong to one compiled provider.
        clock: For token times.
        keyring: Hashes card numbers; None where the operator gave no card key file.

    Raises:
        PolicyInvalid: A profile reads card numbers and there is no keyring.
    """
    problems = missing_card_keys(policy) if keyring is None else ()
    if problems:
        raise PolicyInvalid(problems)
    cel = CelRules()
    return Tables(
        revision=policy.revision,
        routes=RouteTable(_routes(policy, cel, keyring)),
        gate=TokenGate(compile_providers(policy.providers), keys, cache, clock),
        merchants=MerchantTable.compile(policy.merchants),
        keyring=keyring,
    )


def _routes(
    policy: PolicySet, cel: CelRules, keyring: CardKeyring | None
) -> Iterable[tuple[str, str, str, OperationPolicy]]:
    for operation in policy.routes.operations:
        compiled = _operation(policy, operation, cel, keyring)
        for host in operation.hosts or policy.routes.hosts:
            yield host, operation.method, operation.path, compiled


def _operation(policy: PolicySet, operation: Operation, cel: CelRules, keyring: CardKeyring | None) -> OperationPolicy:
    profile = policy.profiles[operation.profile] if operation.profile is not None else None
    applies_by_default = operation.moves_money
    rules = [
        rule
        for rule in policy.risk.rules
        if (operation.operation in rule.operations if rule.operations else applies_by_default)
    ]
    return OperationPolicy(
        operation=operation.operation,
        scopes=operation.scopes,
        merchant_claim=tuple(
            token.replace("~1", "/").replace("~0", "~") for token in operation.merchant.claim[1:].split("/")
        ),
        moves_money=operation.moves_money,
        body=None if profile is None else BodyReader(profile, moves_money=operation.moves_money, keyring=keyring),
        rules=RuleSet.compile(rules, cel),
        forward_token=operation.forward_token,
    )
