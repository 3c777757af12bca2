"""Writes down what events end, in the list of revoked tokens that every replica follows."""

from __future__ import annotations

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from extauthz.events.model import EndedTokens, ReceivedEvent
from extauthz.events.pages import EventNotWritten
from extauthz.tokens.revocations import Revocation, RevocationWriter, forget_at


class RevocationSink:
    """An `EventSink` over the list of revoked tokens.

    Args:
        writer: Writes an event and its mark in one step, so that one which failed can be sent again.
        clock: Wall time, which says when an entry may be forgotten.
    """

    def __init__(self, writer: RevocationWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    async def accept(self, event: ReceivedEvent, deadline: float) -> bool:
        """Write what an event ends; see `EventSink.accept`."""
        now = self._clock.wall()
        entries = [_entry(event.token_issuer, ended, now) for ended in event.ended]
        try:
            return await self._writer.accept(entries, event.token_issuer, event.jti, deadline)
        except StoreUnavailable as error:
            raise EventNotWritten from error


def _entry(issuer: str, ended: EndedTokens, now: float) -> Revocation:
    # A session or a token is ended whole, whenever a token of it was issued.
    not_before = ended.ended_at if ended.kind in ("sub", "acr") else 0.0
    return Revocation(ended.kind, issuer, ended.value, not_before, forget_at(now, not_before))
