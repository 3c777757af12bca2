"""Turns a checked policy set into this service's tables; runs at load, never on the request path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chassis.clock import Clock
from extauthz.events.compile import compile_events
from extauthz.idempotency import IdempotencyRule
from extauthz.introspection.rules import AskingRule, IssuerAsking
from extauthz.payment import BodyReader
from extauthz.risk import RuleSet
from extauthz.routes import RouteTable
from extauthz.signatures.check import SignatureCheck, SignatureMeans
from extauthz.signatures.signers import compile_signers, signer_problems
from extauthz.subjects import Subjects
from extauthz.tables import OperationPolicy, Tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.certificates import CertificateSource
from extauthz.tokens.constraint import SenderConstraint
from extauthz.tokens.demands import TokenDemands
from extauthz.tokens.details import PaymentGrant
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.merchant_claims import MerchantClaims
from extauthz.tokens.nonces import DpopNonces
from extauthz.tokens.providers import compile_providers, offered_algorithms
from extauthz.tokens.replay import ReplayStore
from extauthz.tokens.revocation_feed import RevocationFeed, RevocationRules
from policy.card_keys import CardKeyring
from policy.card_numbers import missing_card_keys
from policy.cel import CelRules
from policy.diagnostics import PolicyInvalid, Problem
from policy.loader import PolicySet
from policy.merchants import MerchantTable
from policy.resource import metadata_url
from policy.schema.routes import Operation
from policy.token_means import missing_credentials, missing_revocation_means, missing_token_means


@dataclass(frozen=True, slots=True)
class OperatorMeans:
    """What the operator gave besides the policy set; a set that needs more is not served.

    Attributes:
        keyring: Hashes card numbers.
        replays: Remembers used DPoP proofs and signatures.
        nonces: Makes and knows DPoP nonces.
        revocations: Knows which tokens were revoked.
        asking: Asks token issuers.
    """

    keyring: CardKeyring | None = None
    replays: ReplayStore | None = None
    nonces: DpopNonces | None = None
    revocations: RevocationFeed | None = None
    asking: IssuerAsking | None = None

    def missing(self, policy: PolicySet) -> tuple[Problem, ...]:
        """Return what this set needs and was not given."""
        return (
            *(missing_card_keys(policy) if self.keyring is None else ()),
            *signer_problems(policy),
            *(missing_credentials(policy) if self.asking is None or not self.asking.is_possible else ()),
            *missing_revocation_means(policy, has_store=self.revocations is not None),
            *missing_token_means(policy, has_store=self.replays is not None, has_nonce_key=self.nonces is not None),
        )


def compile_tables(
    policy: PolicySet, *, keys: KeySets, cache: ClaimsCache, clock: Clock, given: OperatorMeans = OperatorMeans()
) -> Tables:
    """Compile the set.

    Args:
        policy: A set without problems, from `load_policy_set`.
        keys: The process-wide key sets; they outlive a reload.
        cache: The process-wide cache of verified claims; its entries belong to one compiled provider.
        clock: For token times.
        given: Keys and stores of the operator.

    Raises:
        PolicyInvalid: The set needs a key or a store that the operator did not give.
    """
    problems = given.missing(policy)
    if problems:
        raise PolicyInvalid(problems)
    audiences = frozenset(name for provider in policy.providers.providers for name in provider.audiences)
    providers = compile_providers(policy.providers)
    signatures = SignatureMeans(compile_signers(policy), clock, given.replays)
    means = _Means(CelRules(), given.keyring, clock, audiences, signatures)
    gate = TokenGate(providers, keys, cache, clock, _constraint(policy, clock, given))
    gate.failures_per_minute = policy.providers.failed_authentications_per_minute
    gate.revocation = _revocation(policy, given.revocations)
    if given.asking is not None:
        gate.introspection = given.asking.compile(policy.providers, providers, clock)
    return Tables(
        revision=policy.revision,
        routes=RouteTable(_routes(policy, means)),
        gate=gate,
        merchants=MerchantTable.compile(policy.merchants),
        keyring=given.keyring,
        dpop_algorithms=offered_algorithms(providers),
        resource_metadata=metadata_url(policy.routes.resource),
        are_requests_signed=any(operation.message_signature for operation in policy.routes.operations),
        events=compile_events(policy.providers, providers, keys, clock),
    )


def _constraint(policy: PolicySet, clock: Clock, given: OperatorMeans) -> SenderConstraint:
    certificates = CertificateSource(policy.providers.client_certificate.trusted_hop)
    return SenderConstraint(clock, certificates, given.replays, given.nonces)


def _revocation(policy: PolicySet, feed: RevocationFeed | None) -> RevocationRules | None:
    section = policy.providers.revocation
    if section is None or feed is None:  # the latter was refused as P095 before
        return None
    return RevocationRules(feed, section.max_staleness_seconds, section.stale_refuses == "all")


@dataclass(frozen=True, slots=True)
class _Means:
    """What operations are compiled with."""

    cel: CelRules
    keyring: CardKeyring | None
    clock: Clock
    audiences: frozenset[str]
    signatures: SignatureMeans


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
        sender_constraint=operation.sender_constraint,
        moves_money=operation.moves_money,
        body=None if profile is None else BodyReader(profile, moves_money=operation.moves_money, keyring=means.keyring),
        rules=RuleSet.compile(rules, means.cel),
        subjects=Subjects.compile(policy.quotas, operation.operation, means.keyring),
        forward_token=operation.forward_token,
        grant=PaymentGrant.compile(operation.authorization_details, means.audiences),
        refuses_cookies=operation.cookies == "refuse",
        asking=AskingRule.compile(operation.introspect, operation.scopes),
        idempotency=IdempotencyRule.compile(operation, means.keyring),
        signature=SignatureCheck.compile(operation.message_signature, means.signatures),
    )
