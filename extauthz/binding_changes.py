"""What a reload loosened in the binding of tokens to their senders; part of `changes`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policy.loader import PolicySet
from policy.schema.providers import Dpop

_DEMANDS: Final = {
    "none": frozenset({"nothing", "certificate", "dpop"}),
    "any": frozenset({"certificate", "dpop"}),
    "certificate": frozenset({"certificate"}),
    "dpop": frozenset({"dpop"}),
}


def binding_loosened(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Compare two revisions and return what lets more through than before."""
    if old.providers.client_certificate != new.providers.client_certificate:
        yield "client certificates are believed from another place"
    known = {provider.issuer: provider for provider in old.providers.providers}
    for provider in new.providers.providers:
        before = known.get(provider.issuer)
        if before is not None and provider.dpop is not None:
            yield from (f"provider {provider.id} {change}" for change in _proofs(before.dpop, provider.dpop))
    operations = {operation.operation: operation for operation in old.routes.operations}
    for operation in new.routes.operations:
        former = operations.get(operation.operation)
        if former is not None and _DEMANDS[operation.sender_constraint] - _DEMANDS[former.sender_constraint]:
            demand = f"{former.sender_constraint} to {operation.sender_constraint}"
            yield f"operation {operation.operation}: sender_constraint went from {demand}"


def _proofs(before: Dpop | None, after: Dpop) -> Iterator[str]:
    if before is None:
        yield "now takes tokens bound to DPoP keys"
        return
    if before.replay == "checked" and after.replay == "unchecked":
        yield "takes a DPoP proof more than once"
    if before.nonce == "required" and after.nonce == "off":
        yield "no longer requires nonces in DPoP proofs"
    if after.past_seconds > before.past_seconds or after.future_seconds > before.future_seconds:
        yield "takes DPoP proofs for longer"
    for algorithm in sorted(set(after.algorithms) - set(before.algorithms)):
        yield f"takes DPoP proofs signed with {algorithm}"
