"""Turns a checked policy set into this service's tables; runs at load, never on the request path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chassis.clock import Clock
from extauthz.card_keys import CardKeyring
from extauthz.payment import BodyReader
from extauthz.risk import RuleSet
from extauthz.routes import RouteTable
from extauthz.tables import OperationPolicy, Tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.demands import TokenDemands
from extauthz.tokens.details import PaymentGrant
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.merchant_claims import MerchantClaims
from extauthz.tokens.providers import compile_providers
from policy.card_numbers import missing_card_keys
from policy.cel import CelRules
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet
from policy.merchants import MerchantTable
from policy.resource import metadata_url
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
    audiences = frozenset(name for provider in policy.providers.providers for name in provider.audiences)
    means = _Means(CelRules(), keyring, clock, audiences)
    return Tables(
        revision=policy.revision,
        routes=RouteTable(_routes(policy, means)),
        gate=TokenGate(compile_providers(policy.providers), keys, cache, clock),
        merchants=MerchantTable.compile(policy.merchants),
        keyring=keyring,
        resource_metadata=metadata_url(policy.routes.resource),
    )


@dataclass(frozen=True, slots=True)
class _Means:
    """What operations are compiled with."""

    cel: CelRules
    keyring: CardKeyring | None
    clock: Clock
    audiences: frozenset[str]


def _routes(policy: PolicySet, means: _Means) -> Iterable[tuple[str, str, str, OperationPolicy]]:
    for operation in policy.routes.operations:
        compiled = _operation(policy, operation, means)
        for host in operation.hosts or policy.routes.hosts:
            yield host, operation.method, operation.path, compiled


def _operation(policy: PolicySet, operation: Operation, means: _Means) -> OperationPolicy:
    profile = policy.profiles[operation.profile] if operation.profile is not None else None
    applies_by_default = operation.moves_money
    rules = [
        rule
        for rule in policy.risk.rules
        if (operation.operation in rule.operations if rule.operations else applies_by_default)
    ]
    return OperationPolicy(
        operation=operation.operation,
        demands=TokenDemands.compile(operation, means.clock),
        merchant=MerchantClaims.compile(operation.merchant),
        moves_money=operation.moves_money,
        body=None if profile is None else BodyReader(profile, moves_money=operation.moves_money, keyring=means.keyring),
        rules=RuleSet.compile(rules, means.cel),
        forward_token=operation.forward_token,
        grant=PaymentGrant.compile(operation.authorization_details, means.audiences),
    )
