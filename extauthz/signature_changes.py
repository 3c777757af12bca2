"""What a reload loosened in the signing of requests; part of `changes`."""

from __future__ import annotations

from collections.abc import Iterator

from policy.loader import PolicySet
from policy.schema.signatures import MessageSignature


def signatures_loosened(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Compare two revisions and return what lets more through than before."""
    known = {signer.keyid: signer for signer in old.providers.signers}
    for signer in new.providers.signers:
        before = known.get(signer.keyid)
        if before is None:
            yield f"signer {signer.keyid} was added"
        elif before != signer:
            yield f"signer {signer.keyid} has another key or another owner"
    operations = {operation.operation: operation for operation in old.routes.operations}
    for operation in new.routes.operations:
        former = operations.get(operation.operation)
        if former is not None and former.message_signature is not None:
            changes = _demand(former.message_signature, operation.message_signature)
            yield from (f"operation {operation.operation} {change}" for change in changes)


def _demand(before: MessageSignature, after: MessageSignature | None) -> Iterator[str]:
    if after is None:
        yield "no longer needs signed requests"
        return
    for name in sorted(set(before.components) - set(after.components)):
        yield f"takes signatures that do not cover {name}"
    if after.max_age_seconds > before.max_age_seconds:
        yield "takes signatures for longer"
    if (after.tag, after.label) != (before.tag, before.label):
        yield "takes other signatures: tag or label changed"
