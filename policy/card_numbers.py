"""Which profiles of a policy set read card numbers, and so need the operator's card key file."""

from __future__ import annotations

from policy.diagnostics import Problem
from policy.loader import PolicySet
from policy.names import QUOTAS_FILE, ROUTES_FILE
from policy.schema.quotas import KEYED_SUBJECTS

_NO_QUOTA_KEYS = "the quota counts by keyed hashes, and the service was given no --card-key-file"
_NO_IDENTITY_KEYS = "payments are told apart by keyed hashes, and the service was given no --card-key-file"
_NO_KEYS = "card numbers are read, and the service was given no --card-key-file"


def card_number_files(policy: PolicySet) -> tuple[str, ...]:
    """Return the profile files with a `card_number`, in order of their profiles."""
    return tuple(
        policy.profile_files[name] for name, profile in policy.profiles.items() if profile.card_number is not None
    )


def missing_card_keys(policy: PolicySet) -> tuple[Problem, ...]:
    """Return what is wrong with serving this set without a card key file."""
    cards = (policy.problem(file, ("card_number",), "P044", _NO_KEYS) for file in card_number_files(policy))
    quotas = (
        policy.problem(QUOTAS_FILE, ("quotas", index, "id"), "P044", _NO_QUOTA_KEYS)
        for index, quota in enumerate(policy.quotas.quotas)
        if quota.subjects & (KEYED_SUBJECTS - {"card"})  # a card's profile has its own problem
    )
    routes = (
        policy.problem(ROUTES_FILE, ("operations", index, "idempotency"), "P044", _NO_IDENTITY_KEYS)
        for index, operation in enumerate(policy.routes.operations)
        if operation.idempotency is not None and operation.idempotency.mode == "upstream_enforced"
    )
    return (*cards, *quotas, *routes)
