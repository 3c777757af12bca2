"""What the token checks of a policy set need besides the set: a store for used proofs, a key for nonces."""

from __future__ import annotations

from policy.diagnostics import Problem
from policy.loader import PolicySet
from policy.names import PROVIDERS_FILE, ROUTES_FILE

_NO_STORE = "used proofs are remembered, and the service was given no --store"
_NO_STORE_FOR_SIGNATURES = "used signatures are remembered, and the service was given no --store"
_NO_STORE_FOR_REVOCATIONS = "revoked tokens are refused, and the service was given no --store"
_NO_CREDENTIALS = "its issuer is asked about tokens, and the service was given no --client-credentials-dir"
_NO_NONCES = "nonces are required, and the service was given no --dpop-nonce-key-file"


def needs_replay_store(policy: PolicySet) -> bool:
    """Tell whether a provider of the set has used proofs remembered, or an operation used signatures."""
    return any(
        provider.dpop is not None and provider.dpop.replay == "checked" for provider in policy.providers.providers
    ) or any(operation.message_signature is not None for operation in policy.routes.operations)


def missing_token_means(policy: PolicySet, *, has_store: bool, has_nonce_key: bool) -> tuple[Problem, ...]:
    """Return what is wrong with serving this set with these means."""
    problems: list[Problem] = []
    for index, provider in enumerate(policy.providers.providers):
        path = ("providers", index, "dpop")
        if provider.dpop is None:
            continue
        if provider.dpop.replay == "checked" and not has_store:
            problems.append(policy.problem(PROVIDERS_FILE, path, "P093", _NO_STORE))
        if provider.dpop.nonce == "required" and not has_nonce_key:
            problems.append(policy.problem(PROVIDERS_FILE, path, "P094", _NO_NONCES))
    for index, operation in enumerate(policy.routes.operations):
        if operation.message_signature is not None and not has_store:
            path = ("operations", index, "message_signature")
            problems.append(policy.problem(ROUTES_FILE, path, "P093", _NO_STORE_FOR_SIGNATURES))
    return tuple(problems)


def missing_revocation_means(policy: PolicySet, *, has_store: bool) -> tuple[Problem, ...]:
    """Return what is wrong when revoked tokens are to be refused and nobody keeps the list of them."""
    if policy.providers.revocation is None or has_store:
        return ()
    return (policy.problem(PROVIDERS_FILE, ("revocation",), "P095", _NO_STORE_FOR_REVOCATIONS),)


def missing_credentials(policy: PolicySet) -> tuple[Problem, ...]:
    """Return what is wrong when issuers are to be asked and there is nothing to prove to them who asks."""
    return tuple(
        policy.problem(PROVIDERS_FILE, ("providers", index, "introspection"), "P099", _NO_CREDENTIALS)
        for index, provider in enumerate(policy.providers.providers)
        if provider.introspection is not None
    )
