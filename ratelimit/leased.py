"""`coordination: leased`: a replica draws shares of a counter ahead of use and spends them without the store.

A share is charged to the counter itself before anything is let through by it, so however many replicas draw, crash or
see their clocks jump, no window lets more through than its limit. What is drawn and not spent is missing to the others:
a request may be refused early by what other replicas hold at that moment, at most `largest_share` each, and by what a
replica held that crashed in the window. A share is drawn in parts; each has a hold in the store and goes back whole, by
the settlement that every release uses, so a store that was emptied takes nothing back that it never counted. A share
lives for `LIFE_SECONDS`, by the monotonic clock: then whole parts go back, and the rest of the open one waits until the
store has said anew, by another draw, that the window is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chassis.clock import Clock
from chassis.ids import Ids
from chassis.store_link import StoreUnavailable, Unavailability
from ratelimit.ledger import (
    CounterFault,
    Entry,
    Hold,
    Ledger,
    Outcome,
    Posting,
    PostResult,
    Reading,
    Settled,
    Settlement,
    Status,
)
from ratelimit.slot_groups import tag_of

LIFE_SECONDS: Final = 0.25
PARTS: Final = 4
_SHARE_OF_LIMIT: Final = 50
_HOLD_SECONDS: Final = 60
_GIVE_BACK_SECONDS: Final = 0.5
_MAX_NAMES: Final = 10_000


def largest_share(limit: int) -> int:
    """Return how many units of a limit one replica holds at most without having spent them."""
    return (PARTS + 1) * largest_part(limit)


def largest_part(limit: int) -> int:
    """Return the units of the largest part of a share."""
    return max(1, limit // (_SHARE_OF_LIMIT * PARTS))


class _Part(NamedTuple):
    hold: Hold
    units: int


@dataclass(slots=True, eq=False)
class _Share:
    """What this replica holds of one counter, and how it stands there as far as is known.

    Attributes:
        limit: The parts were drawn for.
        left: Units that can be spent of the part that is open.
        parts: Parts that are whole.
        used: The counter after the last draw.
        ends_at: On the monotonic clock; later nothing is spent.
        drawing: The draw under way, which all wait for who find nothing left.
    """

    limit: int
    left: int = 0
    parts: list[_Part] = field(default_factory=list)
    used: int = 0
    ends_at: float = 0.0
    drawing: asyncio.Task[PostResult | None] | None = None

    @property
    def unspent(self) -> int:
        """Units that are drawn and not spent."""
        return self.left + sum(part.units for part in self.parts)

    def take(self, now: float, limit: int) -> bool:
        """Spend a unit; False where none may be spent."""
        if now >= self.ends_at or limit != self.limit:
            return False
        if not self.left and self.parts:
            self.left = self.parts.pop().units
        if not self.left:
            return False
        self.left -= 1
        return True


class LeasedLedger:
    """A `Ledger` in front of another: entries with a `lease` are spent from shares, everything else passes through.

    Args:
        ledger: Where everything is counted in the end.
        clock: `monotonic()` is what shares live by.
        ids: Name the holds of parts.
    """

    def __init__(self, ledger: Ledger, clock: Clock, ids: Ids) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._shares: dict[str, _Share] = {}
        self._sizes: dict[str, int] = {}
        self._going_back: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the ledger behind it."""
        await self._ledger.start()

    async def stop(self) -> None:
        """Give back what is unspent, as far as the store takes it in time, and stop the ledger behind it."""
        await self.give_back(is_all=True)
        await asyncio.gather(*self._going_back, return_exceptions=True)
        await self._ledger.stop()

    @property
    def is_available(self) -> bool:
        """Whether a posting sent now has a store to go to."""
        return self._ledger.is_available

    def doubt_about(self, key: str) -> str:
        """Return why amounts cannot be counted at a key."""
        return self._ledger.doubt_about(key)

    @property
    def is_doubted(self) -> bool:
        """Whether amounts cannot be counted at some key."""
        return self._ledger.is_doubted

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store."""
        return self._ledger.warnings()

    async def settle(self, settlement: Settlement, deadline: float) -> Settled:
        """Write the outcome of a held posting; nothing that is leased is held."""
        return await self._ledger.settle(settlement, deadline)

    async def post(self, posting: Posting, deadline: float) -> PostResult:
        """Judge and add all or none; see `Ledger.post`."""
        if len(posting.entries) == 1 and posting.hold is None:
            spent = self._spend_at_once(posting.entries[0])
            if spent is not None:
                return spent
        places = [place for place, entry in enumerate(posting.entries) if entry.lease and entry.cost == 1]
        rest = [entry for entry in posting.entries if not (entry.lease and entry.cost == 1)]
        if not places or (posting.hold is not None and not rest):
            return await self._ledger.post(posting, deadline)
        taken: dict[int, Reading] = {}
        for place in places:
            found = await self._take(posting, posting.entries[place], deadline)
            if isinstance(found, PostResult):
                self._return(posting, taken)
                return found
            taken[place] = found
        if any(taken[place].is_over and not posting.entries[place].is_shadow for place in places):
            return await self._refused(posting, taken, deadline)
        if not rest:
            return _merged(posting, taken, PostResult(Status.CHARGED))
        return await self._post_rest(posting, rest, taken, deadline)

    def _spend_at_once(self, entry: Entry) -> PostResult | None:
        """Spend a unit where one is at hand and nothing else is asked: what nearly every leased request comes to."""
        share = self._shares.get(entry.key) if entry.lease and entry.cost == 1 else None
        if share is None or not share.take(self._clock.monotonic(), entry.limit):
            return None
        return PostResult(Status.CHARGED, (Reading(max(0, share.used - share.unspent), is_over=False),), (0,))

    async def _post_rest(
        self, posting: Posting, rest: Sequence[Entry], taken: dict[int, Reading], deadline: float
    ) -> PostResult:
        try:
            result = await self._ledger.post(posting._replace(entries=rest), deadline)
        except CounterFault:
            self._return(posting, taken)
            raise
        if result.status is not Status.CHARGED:
            # A repeat counts once: what it took here goes to the next request; so does what is refused.
            again = {
                place: reading
                for place, reading in taken.items()
                if result.status is not Status.REPEATED or posting.entries[place].is_once
            }
            taken |= self._return(posting, again)
        return result if result.status in (Status.STALE, Status.MISMATCH) else _merged(posting, taken, result)

    async def _refused(self, posting: Posting, taken: dict[int, Reading], deadline: float) -> PostResult:
        """Give back what other leased entries took, and look at the rest for whoever is told."""
        taken |= self._return(posting, taken)
        looks = [entry._replace(cost=0, is_held=False, is_shadow=True) for entry in posting.entries if not entry.lease]
        if not looks:
            return _merged(posting, taken, PostResult(Status.OVER))
        try:
            result = await self._ledger.post(posting._replace(entries=looks, hold=None), deadline)
        except (StoreUnavailable, CounterFault):
            result = PostResult(Status.OVER)  # the refusal stands; less is told of it
        return _merged(posting, taken, result._replace(status=Status.OVER))

    async def _take(self, posting: Posting, entry: Entry, deadline: float) -> Reading | PostResult:
        """Spend a unit of a counter; draw a share where none is left. STALE comes back as the store said it."""
        # Asked for anew each time: whoever waited may find that the share was dropped.
        while not (share := self._share(entry)).take(now := self._clock.monotonic(), entry.limit):
            if share.drawing is None:
                size = self._size(share, entry, now)
                self._settle_parts(share)
                share.drawing = asyncio.create_task(self._draw(share, entry, posting, (size, deadline)))
                share.drawing.add_done_callback(lambda task: task.cancelled() or task.exception())
            found = await self._wait(share.drawing, deadline)
            if found is not None:
                return found if found.status is Status.STALE else found.readings[0]
        return Reading(max(0, share.used - share.unspent), is_over=False)

    async def _wait(self, drawing: asyncio.Task[PostResult | None], deadline: float) -> PostResult | None:
        left = deadline - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await asyncio.shield(drawing)
        except TimeoutError:
            raise StoreUnavailable(Unavailability.DEADLINE) from None

    def _share(self, entry: Entry) -> _Share:
        share = self._shares.get(entry.key)
        if share is None:
            share = self._shares[entry.key] = _Share(entry.limit)
            # Its window is over by then, and so is whatever it still holds.
            asyncio.get_running_loop().call_later(entry.expires_in_seconds, self._forget, entry.key, share)
        return share

    def _size(self, share: _Share, entry: Entry, now: float) -> int:
        """Return the size of the parts to draw: it doubles where a share did not last, and halves where parts did."""
        size = self._sizes.get(entry.lease, 1)
        if share.parts:
            size //= 2
        elif share.ends_at > now and share.limit == entry.limit:
            size *= 2
        if len(self._sizes) >= _MAX_NAMES:
            self._sizes.clear()
        size = self._sizes[entry.lease] = max(1, min(size, largest_part(entry.limit)))
        return size

    async def _draw(self, share: _Share, entry: Entry, posting: Posting, how: tuple[int, float]) -> PostResult | None:
        """Draw a share; return None when there is something to spend, else what the store says."""
        try:
            size, deadline = how
            found = await self._draw_parts(share, entry, posting, ([size] * PARTS, deadline))
            if found is not None and found.status is Status.OVER and size > 1:
                # Not so much is left; what is, goes one by one.
                self._sizes[entry.lease] = 1
                found = await self._draw_parts(share, entry, posting, ([1], deadline))
            return found
        finally:
            share.drawing = None
            if not share.unspent:
                self._forget(entry.key, share)

    async def _draw_parts(
        self, share: _Share, entry: Entry, posting: Posting, how: tuple[Sequence[int], float]
    ) -> PostResult | None:
        sizes, deadline = how
        # The life begins before the store counts it, so that it never outlasts what the store has said.
        ends_at = self._clock.monotonic() + LIFE_SECONDS
        holds = [self._hold(entry) for _ in sizes]
        calls = [
            self._ledger.post(
                Posting(
                    [entry._replace(cost=size, is_once=True, is_held=True, is_shadow=False, lease="")],
                    posting.valid_from_ms,
                    posting.valid_until_ms,
                    hold,
                ),
                deadline,
            )
            for size, hold in zip(sizes, holds, strict=True)
        ]
        found = await asyncio.gather(*calls, return_exceptions=True)
        results = [each for each in found if isinstance(each, PostResult)]
        drawn = [
            _Part(hold, size)
            for each, hold, size in zip(found, holds, sizes, strict=True)
            if isinstance(each, PostResult) and each.status is Status.CHARGED
        ]
        if drawn:
            share.limit, share.ends_at = entry.limit, ends_at
            share.parts += drawn
            share.used = max(each.readings[0].used for each in results if each.status is Status.CHARGED)
            asyncio.get_running_loop().call_later(2 * LIFE_SECONDS, self._send_back_idle, entry.key, share)
            return None
        failed = next((each for each in found if isinstance(each, BaseException)), None)
        if failed is not None:
            raise failed
        return results[0]

    def _hold(self, entry: Entry) -> Hold:
        name = self._ids.decision_id()
        return Hold(f"{{{tag_of(entry.key)}}}:share:{name}", name, "share", _HOLD_SECONDS)

    def _return(self, posting: Posting, taken: dict[int, Reading]) -> dict[int, Reading]:
        """Make units spendable again; return the readings as found."""
        found = {}
        for place, reading in taken.items():
            found[place] = reading
            if not reading.is_over:
                share = self._shares.setdefault(posting.entries[place].key, _Share(posting.entries[place].limit))
                share.left += 1
                found[place] = Reading(max(0, reading.used - 1), is_over=False)
        return found

    def _settle_parts(self, share: _Share) -> None:
        """Send back the whole parts of a share that is over; what is left of the open one stays with it."""
        parts, share.parts = share.parts, []
        if parts:
            task = asyncio.create_task(self._release(parts))
            self._going_back.add(task)
            task.add_done_callback(self._going_back.discard)

    async def _release(self, parts: Sequence[_Part]) -> None:
        deadline = self._clock.monotonic() + _GIVE_BACK_SECONDS
        released = [
            self._ledger.settle(
                Settlement(part.hold.key, part.hold.decision_id, part.hold.about, Outcome.RELEASED), deadline
            )
            for part in parts
        ]
        # Lost, they stay counted and unspent.
        await asyncio.gather(*released, return_exceptions=True)

    def _forget(self, key: str, share: _Share) -> None:
        if self._shares.get(key) is share:
            del self._shares[key]

    def _send_back_idle(self, key: str, share: _Share) -> None:
        if share.drawing is None and self._clock.monotonic() >= share.ends_at:
            self._settle_parts(share)
            if not share.left:
                self._forget(key, share)

    async def give_back(self, *, is_all: bool = False) -> None:
        """Give back what is unspent and too old; with `is_all`, whatever is unspent."""
        for key, share in list(self._shares.items()):
            if is_all:
                share.ends_at = 0.0
            self._send_back_idle(key, share)
        await asyncio.gather(*self._going_back)


def _merged(posting: Posting, taken: dict[int, Reading], rest: PostResult) -> PostResult:
    """Put readings together in the order of the entries; what was not read is as if nothing were used."""
    readings, waits = iter(rest.readings), iter(rest.waits_ms)
    merged = [
        (taken[place], 0) if place in taken else (next(readings, Reading(0, is_over=False)), next(waits, 0))
        for place in range(len(posting.entries))
    ]
    return PostResult(rest.status, tuple(each for each, _ in merged), tuple(wait for _, wait in merged))
