"""The list of revocations as this process knows it, and the task that keeps up with the store.

Asked once for each request, after its token is known to be good. Its law: what was once read stays in force until it
ends, whatever becomes of the store; and how old the knowledge may be is counted from when the store was asked, so a
store that is silent, emptied or too full makes it old and never empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability
from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens import refusals
from extauthz.tokens.revocations import MAX_AT_ONCE, MAX_ENTRIES, Kind, Place, Revocation, RevocationStore, merged

log = logging.getLogger(__name__)

_Key = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True)
class FeedPace:
    """How often and how patiently the store is asked.

    Attributes:
        every_seconds: Pause between two questions; an entry is in force everywhere within it and an answer's time.
        answer_seconds: An answer is not waited for longer.
        reread_seconds: The whole list is read anew so often, and what the store has lost is written back.
        young_seconds: A list younger than this is not believed to be whole by a replica that starts: it may be the
            list of an emptied store, to which the others have not come back yet.
    """

    every_seconds: float = 0.25
    answer_seconds: float = 1.0
    reread_seconds: float = 60.0
    young_seconds: float = 4.0


class RevocationFeed:
    """What is revoked, in the memory of one replica; belongs to one event loop.

    Args:
        store: Keeps the list for all replicas.
        clock: Monotonic time for ages, wall time for ends.
        max_entries: A longer list makes the knowledge old instead of thin.
        pace: How often the store is asked.

    Attributes:
        losses: How often the store was found to have lost entries that were known here.
    """

    def __init__(
        self, store: RevocationStore, clock: Clock, max_entries: int = MAX_ENTRIES, pace: FeedPace = FeedPace()
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_entries = max_entries
        self._pace = pace
        self._entries: dict[_Key, Revocation] = {}
        self._read_at = -math.inf
        self._reread_at = -math.inf
        self._place = Place()
        self._written_meanwhile: set[_Key] = set()
        self._needed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._fault = ""
        self.losses = 0

    @property
    def entries(self) -> int:
        """How many entries are in force here."""
        return len(self._entries)

    @property
    def is_loaded(self) -> bool:
        """Whether the whole list was read at least once."""
        return self._read_at > -math.inf

    @property
    def is_needed(self) -> bool:
        """Whether the policy set in force asks for it."""
        return self._needed.is_set()

    def staleness_seconds(self) -> float:
        """Return how long ago the store was asked for what is known; infinite before the first answer."""
        return self._clock.monotonic() - self._read_at

    def need(self, *, is_needed: bool) -> None:
        """Begin to ask the store, or stop; what is known stays."""
        (self._needed.set if is_needed else self._needed.clear)()

    def waiting_for(self) -> tuple[str, ...]:
        """Return what is missing before calls may come, in words."""
        return ("the list of revoked tokens",) if self.is_needed and not self.is_loaded else ()

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although the service is ready."""
        return (f"revocations: {self._fault}",) if self.is_needed and self._fault else ()

    async def start(self) -> None:
        """Begin; never fails because the store is away."""
        self._task = asyncio.create_task(self._follow(), name="revocation-feed")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._store.stop()

    async def revoke(self, entries: Sequence[Revocation], deadline: float) -> None:
        """Write entries, and hold them here at once; see `RevocationWriter.revoke`."""
        await self._store.revoke(entries, deadline)
        self._hold_own(entries)

    async def accept(self, entries: Sequence[Revocation], issuer: str, jti: str, deadline: float) -> bool:
        """Write what an event says, and hold it here at once; see `RevocationWriter.accept`."""
        is_new = await self._store.accept(entries, issuer, jti, deadline)
        self._hold_own(entries)
        return is_new

    def is_revoked(self, principal: Principal) -> bool:
        """Tell whether an entry hits a token; what it does not say cannot be hit."""
        if not self._entries:
            return False
        issuer, claims = principal.token_issuer, principal.claims
        for kind in ("jti", "sid"):
            value = claims.get(kind)
            # Only text can be looked up: a list would not even hash.
            if isinstance(value, str) and (kind, issuer, value) in self._entries:
                return True
        return self._is_before("sub", principal) or ("act" in claims and self._is_actor_ended(principal))

    def _is_actor_ended(self, principal: Principal) -> bool:
        """Look for the outermost actor, who acts as much as the subject does (RFC 8693 section 4.1)."""
        act = principal.claims["act"]
        issuer = act.get("iss", principal.token_issuer) if isinstance(act, Mapping) else None
        entry = self._entries.get(("sub", issuer, principal.actor)) if isinstance(issuer, str) else None
        return entry is not None and principal.issued_at <= entry.not_before

    def is_lowered(self, principal: Principal) -> bool:
        """Tell whether what a token says of how its user authenticated counts no more."""
        return bool(self._entries) and self._is_before("acr", principal)

    def _is_before(self, kind: Kind, principal: Principal) -> bool:
        entry = self._entries.get((kind, principal.token_issuer, principal.subject))
        return entry is not None and principal.issued_at <= entry.not_before

    def _hold_own(self, entries: Sequence[Revocation]) -> None:
        self._written_meanwhile.update(entry[:3] for entry in entries)
        self._hold(entries)

    def _hold(self, entries: Iterable[Revocation]) -> None:
        for entry in entries:
            self._entries[entry[:3]] = merged(self._entries.get(entry[:3]), entry)

    async def _follow(self) -> None:
        while True:
            await self._needed.wait()
            await self._store.start()  # again is no harm
            try:
                await self._catch_up()
            except StoreUnavailable as error:
                # It may come back as another one, so what follows is read as if from a stranger.
                self._place, self._reread_at = Place(), -math.inf
                self._tell(error.reason)
            except Exception as error:
                # What is known grows old, as above; a feed that ended here would stay old until a restart.
                self._place, self._reread_at = Place(), -math.inf
                self._tell(f"a fault of the gate ({type(error).__name__})")
                log.debug("revocation_feed_crashed", exc_info=True)
            else:
                self._tell("" if self.is_loaded else "the list was begun a moment ago")
            await asyncio.sleep(self._pace.every_seconds)

    async def _catch_up(self) -> None:
        """Read what is new, or all when its time has come or the store has another list."""
        asked_at = self._clock.monotonic()
        place = self._place
        if asked_at - self._reread_at >= self._pace.reread_seconds:
            place = Place()
            self._forget_ended()
        self._written_meanwhile.clear()
        seen: set[_Key] = set()
        is_whole, is_last, read = False, False, 0
        while not is_last:
            page = await self._store.read(place, self._clock.monotonic() + self._pace.answer_seconds)
            if page.is_from_start:
                is_whole = True
                seen.clear()
            read += len(page.entries)
            self._hold_if_they_fit(page.entries, read)
            seen.update(entry[:3] for entry in page.entries)
            place, is_last = page.place, page.is_last
        if is_whole:
            await self._write_back(seen)
            self._reread_at = asked_at
        self._place = place
        if self.is_loaded or page.age_seconds >= self._pace.young_seconds:
            self._read_at = asked_at

    def _hold_if_they_fit(self, entries: Sequence[Revocation], read: int) -> None:
        new = {entry[:3] for entry in entries} - self._entries.keys()
        # A list that begins anew while it is read must come to an end too.
        if len(self._entries) + len(new) > self._max_entries or read > 2 * self._max_entries:
            raise StoreUnavailable(Unavailability.NO_ROOM)
        self._hold(entries)

    def _forget_ended(self) -> None:
        now = self._clock.wall()
        for key in [key for key, entry in self._entries.items() if entry.expires_at <= now]:
            del self._entries[key]

    async def _write_back(self, seen: Set[_Key]) -> None:
        """Give the store what it has lost; it stays in force here meanwhile."""
        lost = [entry for key, entry in self._entries.items() if key not in seen and key not in self._written_meanwhile]
        if not lost:
            return
        self.losses += 1
        log.error("revocations_lost: the store has lost %d entries; they stay in force and are written back", len(lost))
        for first in range(0, len(lost), MAX_AT_ONCE):
            deadline = self._clock.monotonic() + self._pace.answer_seconds
            await self._store.revoke(lost[first : first + MAX_AT_ONCE], deadline)
        log.warning("revocations_written_back: %d", len(lost))

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            if fault:
                log.error("revocations_not_read: %s; payments are refused once this is too old", fault)
            else:
                log.warning("revocations_read_again: %d entries", len(self._entries))
            self._fault = fault


@dataclass(frozen=True, slots=True)
class RevocationRules:
    """What one policy snapshot asks of the list.

    Attributes:
        feed: The list of this process.
        max_staleness_seconds: How old the knowledge may be.
        refuses_all_when_stale: Not only operations that move money are refused then.
    """

    feed: RevocationFeed
    max_staleness_seconds: float
    refuses_all_when_stale: bool

    def confirm(self, principal: Principal, *, moves_money: bool) -> Principal | Deny | Unavailable:
        """Return the caller, or why a good token is not enough: it was revoked, or nobody can tell.

        Args:
            principal: Whose token was verified.
            moves_money: Of the operation.
        """
        if self.feed.is_revoked(principal):
            return refusals.revoked()
        if self.feed.staleness_seconds() > self.max_staleness_seconds and (
            moves_money or self.refuses_all_when_stale or not self.feed.is_loaded
        ):
            return Unavailable(Reason.REVOCATION_UNAVAILABLE, "the list of revoked tokens is too old")
        return _lowered(principal) if self.feed.is_lowered(principal) else principal


def _lowered(principal: Principal) -> Principal:
    """Take off how the user authenticated: where an operation asks for it, the user is asked again (RFC 9470)."""
    claims = {name: value for name, value in principal.claims.items() if name != "acr"}
    return replace(principal, claims=MappingProxyType(claims))
