"""providers.yaml, compiled: whose events are taken, by which ways, and what they end."""

from __future__ import annotations

from chassis.clock import Clock
from extauthz.events.reader import EventReader, EventSource
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import CompiledProvider
from policy.schema.providers import Provider, ProvidersFile


def compile_events(
    file: ProvidersFile, providers: tuple[CompiledProvider, ...], keys: KeySets, clock: Clock
) -> EventReader | None:
    """Return the reader of one policy set, or None where no events are taken.

    Args:
        file: Of the set.
        providers: Its providers, compiled in the same order.
        keys: The process-wide key sets.
        clock: For the times of events.
    """
    pairs = zip(file.providers, providers, strict=True)
    sources = tuple(source for policy, provider in pairs if (source := _source(policy, provider)) is not None)
    return EventReader(sources, keys, clock) if sources else None


def _source(policy: Provider, provider: CompiledProvider) -> EventSource | None:
    events = policy.events
    if events is None:
        return None
    return EventSource(provider, frozenset(events.audiences), frozenset(events.transports), events.logout_ends)
