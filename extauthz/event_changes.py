"""What a reload loosened about the events of token issuers: what is no longer heard ends no token."""

from __future__ import annotations

from collections.abc import Iterator

from policy.loader import PolicySet
from policy.schema.events import Events


def events_loosened(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Compare two revisions and say which events end less than before."""
    now = {provider.issuer: provider for provider in new.providers.providers}
    for before in old.providers.providers:
        provider = now.get(before.issuer)
        if before.events is None or provider is None:
            continue
        if provider.events is None:
            yield f"events of provider {provider.id} are no longer taken"
        else:
            yield from (f"provider {provider.id} {change}" for change in _changes(before.events, provider.events))


def _changes(before: Events, after: Events) -> Iterator[str]:
    for transport in sorted(set(before.transports) - set(after.transports)):
        yield f"is no longer heard by {transport}"
    for audience in sorted(set(before.audiences) - set(after.audiences)):
        yield f"is no longer heard when it names {audience}"
    if after.logout_ends not in (before.logout_ends, "both"):
        yield f"ends {after.logout_ends} alone by a logout"
