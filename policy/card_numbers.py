"""What in a policy set is kept as a keyed hash, and so needs the operator's card key file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from policy.diagnostics import Problem
from policy.loader import PolicySet
from policy.names import QUOTAS_FILE, ROUTES_FILE
from policy.schema.quotas import KEYED_SUBJECTS

_NOT_GIVEN: Final = "and the service was given no --card-key-file"


@dataclass(frozen=True, slots=True)
class KeyNeed:
    """One place of the set that needs the keys.

    Attributes:
        what: In words, such as `card numbers`.
        file: Where it is written.
        path: Keys and list indexes from the file's root.
        message: What is wrong without the keys.
    """

    what: str
    file: str
    path: tuple[str | int, ...]
    message: str


def key_needs(policy: PolicySet) -> Iterator[KeyNeed]:
    """Yield each place that needs the keys: profiles, then quotas, then operations."""
    for name, profile in policy.profiles.items():
        if profile.card_number is not None:
            message = f"card numbers are read, {_NOT_GIVEN}"
            yield KeyNeed("card numbers", policy.profile_files[name], ("card_number",), message)
    for index, quota in enumerate(policy.quotas.quotas):
        if quota.subjects & (KEYED_SUBJECTS - {"card"}):  # a card's profile has its own
            message = f"the quota counts by keyed hashes, {_NOT_GIVEN}"
            yield KeyNeed("payers, devices or addresses", QUOTAS_FILE, ("quotas", index, "id"), message)
    for index, operation in enumerate(policy.routes.operations):
        if operation.idempotency is not None and operation.idempotency.mode == "upstream_enforced":
            message = f"payments are told apart by keyed hashes, {_NOT_GIVEN}"
            yield KeyNeed("repeated payments", ROUTES_FILE, ("operations", index, "idempotency"), message)


def missing_card_keys(policy: PolicySet) -> tuple[Problem, ...]:
    """Return what is wrong with serving this set without a card key file."""
    return tuple(policy.problem(need.file, need.path, "P044", need.message) for need in key_needs(policy))
