"""Puts believed events into force: what they end becomes entries of the list of revocations."""

from __future__ import annotations

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from extauthz.events.model import ReceivedEvent
from extauthz.events.pages import EventNotWritten
from extauthz.tokens.revocations import Revocation, RevocationWriter, forget_at


class RevocationSink:
    """An `EventSink` over the list.

    Args:
        writer: The list of this process; None where the policy set in force keeps none.
        clock: Wall time, which entries end by.
    """

    def __init__(self, writer: RevocationWriter | None, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    async def accept(self, event: ReceivedEvent, deadline: float) -> None:
        """Write what the event ends; a repetition has been written before, and is no harm.

        Args:
            event: Verified; an issuer speaks for its own tokens alone.
            deadline: On `Clock.monotonic()`.

        Raises:
            EventNotWritten: Nobody wrote it down, or nobody said so in time.
        """
        if self._writer is None:
            raise EventNotWritten
        now = self._clock.wall()
        entries = [
            Revocation(
                ended.kind,
                event.token_issuer,
                ended.value,
                ended.ended_at if ended.kind == "sub" else 0.0,
                forget_at(now, ended.ended_at),
            )
            for ended in event.ended
        ]
        try:
            await self._writer.accept(entries, event.token_issuer, event.jti, deadline)
        except StoreUnavailable as error:
            raise EventNotWritten from error
