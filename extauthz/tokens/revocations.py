"""Tokens that are refused before they expire: what an entry says, who writes it down, and the list of one process.

Entries are claims, never token text: an ECDSA signature has two texts. Their law: an entry is not taken back, and it is
forgotten only once no token that it hits could still be good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability

Kind = Literal["jti", "sid", "sub", "acr"]
KINDS: Final[tuple[Kind, ...]] = ("jti", "sid", "sub", "acr")

MAX_ENTRIES: Final = 100_000
"""More are refused, so that none is forgotten to make room."""
MAX_AT_ONCE: Final = 100
"""Entries in one write."""
REMEMBERED_SECONDS: Final = 86_400 + 2 * 300 + 3_600
"""The longest lifetime that policy may permit, with its greatest leeway at both ends, and an hour for clocks."""


class Revocation(NamedTuple):
    """Which tokens of an issuer are refused.

    Attributes:
        kind: `jti`: one token; `sid`: all of a session; `sub`: those of a subject that were issued up to `not_before`;
            `acr`: the same tokens stay good, and what they say of how the user authenticated counts no more.
        issuer: Exact `iss`.
        value: Exact claim.
        not_before: Seconds since 1970; counts for `sub` and `acr`. A token of this very second is refused too: whole
            seconds do not tell which came first.
        expires_at: When the entry may be forgotten, seconds since 1970; see `forget_at`.
    """

    kind: Kind
    issuer: str
    value: str
    not_before: float
    expires_at: float


class Place(NamedTuple):
    """How far a list was read.

    Attributes:
        list_id: Which list; it changes when the store was emptied. Empty: none yet, read all.
        position: Of the last entry read.
    """

    list_id: str = ""
    position: int = 0


class Page(NamedTuple):
    """A part of the list.

    Attributes:
        place: Where the next part begins.
        entries: In the order they were written.
        is_last: Nothing stood behind them.
        is_from_start: The list was read from its start, whether that was asked for or the place is not in this list.
        age_seconds: How long ago the list was begun; what the replicas know may not stand in a young one yet.
    """

    place: Place
    entries: tuple[Revocation, ...]
    is_last: bool
    is_from_start: bool
    age_seconds: float = math.inf


class RevocationWriter(Protocol):
    """Writes entries down, for all replicas."""

    async def revoke(self, entries: Sequence[Revocation], deadline: float) -> None:
        """Write entries; again is no harm, and the later `not_before` and `expires_at` stay.

        Args:
            entries: At most `MAX_AT_ONCE`; all are written, or none.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreUnavailable: No answer, or the list is full; what was sent may be written all the same.
        """

    async def accept(self, entries: Sequence[Revocation], issuer: str, jti: str, deadline: float) -> bool:
        """Write what an event says and mark the event, in one step; return False when it was marked before.

        Args:
            entries: As for `revoke`.
            issuer: Of the event.
            jti: Of the event.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreUnavailable: As for `revoke`; the sender has to send the event again.
        """


class RevocationStore(RevocationWriter, Protocol):
    """Keeps the list."""

    async def start(self) -> None:
        """Begin; never fails because the store is away."""

    async def stop(self) -> None:
        """End."""

    async def read(self, place: Place, deadline: float) -> Page:
        """Return what was written behind a place.

        Raises:
            StoreUnavailable: No answer, or one that cannot be read.
        """


def forget_at(now: float, not_before: float = 0.0) -> float:
    """Return when an entry of this moment may be forgotten: no token that it hits can outlive it.

    Args:
        now: Wall clock, seconds since 1970.
        not_before: Of the entry.
    """
    return max(now, not_before) + REMEMBERED_SECONDS


def merged(known: Revocation | None, entry: Revocation) -> Revocation:
    """Return the entry that refuses whatever either of the two refuses."""
    if known is None:
        return entry
    return entry._replace(
        not_before=max(known.not_before, entry.not_before), expires_at=max(known.expires_at, entry.expires_at)
    )


class MemoryRevocations:
    """The list of one lone process, which forgets it when it ends; for development and tests.

    Args:
        clock: Its wall clock ends entries.
        max_entries: More are refused.
    """

    def __init__(self, clock: Clock, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[tuple[Kind, str, str], tuple[int, Revocation]] = {}
        self._events: dict[tuple[str, str], float] = {}
        self._position = 0

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def revoke(self, entries: Sequence[Revocation], deadline: float) -> None:
        """Write entries; see `RevocationWriter.revoke`."""
        self._forget(deadline)
        new = {entry[:3] for entry in entries} - self._entries.keys()
        if len(entries) > MAX_AT_ONCE or len(self._entries) + len(new) > self._max_entries:
            raise StoreUnavailable(Unavailability.NO_ROOM)
        for entry in entries:
            known = self._entries.pop(entry[:3], (0, None))[1]
            self._position += 1
            self._entries[entry[:3]] = (self._position, merged(known, entry))

    async def accept(self, entries: Sequence[Revocation], issuer: str, jti: str, deadline: float) -> bool:
        """Write what an event says, once; see `RevocationWriter.accept`."""
        self._forget(deadline)
        if (issuer, jti) in self._events:
            return False
        if len(self._events) >= self._max_entries:
            raise StoreUnavailable(Unavailability.NO_ROOM)
        await self.revoke(entries, deadline)
        self._events[issuer, jti] = forget_at(self._clock.wall())
        return True

    async def read(self, place: Place, deadline: float) -> Page:
        """Return what was written behind a place; see `RevocationStore.read`."""
        self._forget(deadline)
        after = place.position if place.list_id else 0
        found = tuple(entry for position, entry in self._entries.values() if position > after)
        return Page(Place("memory", self._position), found, is_last=True, is_from_start=not place.list_id)

    def _forget(self, deadline: float) -> None:
        if self._clock.monotonic() >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        now = self._clock.wall()
        for key in [key for key, (_, entry) in self._entries.items() if entry.expires_at <= now]:
            del self._entries[key]
        for event in [event for event, ends_at in self._events.items() if ends_at <= now]:
            del self._events[event]
