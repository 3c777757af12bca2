"""What a reload loosened in asking token issuers; part of `extauthz.changes`."""

from __future__ import annotations

from collections.abc import Iterator

from policy.loader import PolicySet
from policy.schema.introspection import AskIssuer, Introspection


def introspection_loosened(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Compare two revisions and return what lets more through than before."""
    providers = {provider.issuer: provider for provider in old.providers.providers}
    for provider in new.providers.providers:
        known = providers.get(provider.issuer)
        if known is not None and provider.introspection is not None:
            changes = _asking(known.introspection, provider.introspection)
            yield from (f"provider {provider.id} {change}" for change in changes)
    operations = {operation.operation: operation for operation in old.routes.operations}
    for operation in new.routes.operations:
        former = operations.get(operation.operation)
        if former is not None and former.introspect is not None and _asks_less(former.introspect, operation.introspect):
            yield f"operation {operation.operation} asks issuers about fewer requests"


def _asking(before: Introspection | None, after: Introspection) -> Iterator[str]:
    if after.opaque_tokens and not (before and before.opaque_tokens):
        yield "takes opaque tokens"
    elif after.opaque_tokens and before and after.token_prefix != before.token_prefix:
        yield "takes opaque tokens with another beginning"
    if before is None:
        return
    if after.endpoint != before.endpoint:
        yield "is asked about tokens elsewhere"
    if after.reply != before.reply and after.reply == "json":
        yield "may answer without a signature"
    if after.cache_seconds > before.cache_seconds:
        yield f"is believed about a token for {after.cache_seconds} s"


def _asks_less(before: AskIssuer, after: AskIssuer | None) -> bool:
    """Tell whether fewer requests are asked about; what is hard to compare counts as fewer."""
    if after is None:
        return True
    if after.when == "always":
        return False
    if before.when == "always" or after.currency != before.currency:
        return True
    return after.amount is None or before.amount is None or after.amount > before.amount
