"""Postings over several slots of a cluster: a group's or the platform's counters do not lie beside the merchant's.

A script sees one slot, so such a posting is charged part by part: what lies elsewhere first, the merchant's part last,
which decides. It alone knows a repeated payment, and whoever finds the payment there finds it charged everywhere. What
was charged elsewhere is undone where another part refuses, or where the payment is a repeat. The law of the ledger
holds but for what can only over-count or refuse too early: a charge whose undoing is lost stays; a rate and a distinct
member cannot be undone; and a repeat is refused where its group has no room for another payment like it.

What is held elsewhere is noted beside the merchant's hold, and settled after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

from chassis.ids import Ids
from chassis.store_link import StoreUnavailable
from ratelimit.ledger import (
    CounterFault,
    Entry,
    Hold,
    Kind,
    Outcome,
    Posting,
    PostResult,
    Reading,
    Settled,
    Settlement,
    Status,
)

_UNDO_SECONDS: Final = 60  # whoever refuses does so within a deadline of far less
_NOTE_LIMIT: Final = 9
_UNDOABLE: Final = (Kind.WINDOW, Kind.SLIDING)
_Post = Callable[[Posting, float], Awaitable[PostResult]]
_Settle = Callable[[Settlement, float], Awaitable[Settled]]


class Part(NamedTuple):
    """What is charged by one call.

    Attributes:
        posting: All its keys share one hash tag.
        places: Where its entries stand in the whole posting.
        is_noted: Settled with the payment, so the merchant's hold must name it.
        is_once: Undone when the payment turns out to be a repeat.
    """

    posting: Posting
    places: tuple[int, ...]
    is_noted: bool = False
    is_once: bool = False


def tag_of(key: str) -> str:
    """Return what decides the slot of a key: its hash tag, else the key (cluster specification)."""
    _, brace, rest = key.partition("{")
    tag, end, _ = rest.partition("}")
    return tag if brace and end and tag else key


def is_spread(posting: Posting) -> bool:
    """Tell whether the keys of a posting may lie in several slots."""
    home = tag_of(posting.entries[0].key if posting.hold is None else posting.hold.key)
    return any(tag_of(entry.key) != home for entry in posting.entries)


def split(posting: Posting, ids: Ids) -> tuple[list[Part], Part]:
    """Return what is charged elsewhere, and then the part that decides."""
    by_tag: dict[str, list[int]] = {}
    for place, entry in enumerate(posting.entries):
        by_tag.setdefault(tag_of(entry.key), []).append(place)
    home = _home(posting, by_tag)
    elsewhere = [
        part for tag, places in by_tag.items() if tag != home for part in _parts_of_tag(posting, tag, places, ids)
    ]
    places = by_tag.get(home, [])
    entries = [posting.entries[place] for place in places]
    noted = [part.posting.hold.key for part in elsewhere if part.is_noted and part.posting.hold is not None]
    if posting.hold is not None and (noted or not entries):
        key, note = f"{posting.hold.key}:others", " ".join([posting.hold.decision_id, *noted])
        entries.append(Entry(key, _NOTE_LIMIT, 1, posting.hold.seconds, Kind.DISTINCT, member=note))
    return elsewhere, Part(posting._replace(entries=entries), tuple(places))


def _home(posting: Posting, by_tag: dict[str, list[int]]) -> str:
    if posting.hold is not None:
        return tag_of(posting.hold.key)
    # Where most is that cannot be undone.
    return max(by_tag, key=lambda tag: sum(posting.entries[place].kind not in _UNDOABLE for place in by_tag[tag]))


def _parts_of_tag(posting: Posting, tag: str, places: Sequence[int], ids: Ids) -> Iterator[Part]:
    """Yield what is charged under one tag: apart, what is undone at different times."""
    groups: dict[tuple[bool, bool], list[int]] = {}
    for place in places:
        entry = posting.entries[place]
        is_noted = posting.hold is not None and (entry.is_held or entry.kind is Kind.LEASE)
        groups.setdefault((is_noted, entry.is_once), []).append(place)
    for (is_noted, is_once), some in groups.items():
        entries = [_undoable(posting.entries[place]) for place in some]
        if not any(entry.cost for entry in entries):
            yield Part(posting._replace(entries=entries, hold=None), tuple(some))
            continue
        # A name of its own: the same decision may be posted again, for other windows.
        hold = Hold(f"{{{tag}}}:part:{ids.decision_id()}", "undo", "undo", _UNDO_SECONDS)
        if is_noted and posting.hold is not None:
            asked = posting.hold
            hold = hold._replace(decision_id=asked.decision_id, about=asked.about, seconds=asked.seconds)
        yield Part(posting._replace(entries=entries, hold=hold), tuple(some), is_noted, is_once)


def _undoable(entry: Entry) -> Entry:
    is_undoable = entry.kind in _UNDOABLE and entry.cost > 0
    return entry._replace(is_once=is_undoable, is_held=is_undoable)


def others_of(settlement: Settlement, notes: Sequence[str]) -> list[Settlement]:
    """Return what else an outcome settles, by the notes beside the hold."""
    return [
        settlement._replace(key=key, decision_id=decision)
        for decision, *keys in (note.split(" ") for note in notes)
        for key in keys
    ]


class SlotGroups:
    """Charges postings part by part.

    Args:
        post: Charges a posting whose keys share one hash tag.
        settle: Settles one hold.
        ids: Name what is kept elsewhere.
    """

    def __init__(self, post: _Post, settle: _Settle, ids: Ids) -> None:
        self._post = post
        self._settle = settle
        self._ids = ids

    async def post(self, posting: Posting, deadline: float) -> PostResult:
        """Judge and add all or none; see `Ledger.post`."""
        elsewhere, home = split(posting, self._ids)
        calls = [self._post(part.posting, deadline) for part in elsewhere]
        found = await asyncio.gather(*calls, return_exceptions=True)
        readings = _Readings(posting)
        status = await self._judge_elsewhere(readings, elsewhere, found, deadline)
        if status is not Status.CHARGED:
            return await self._refused(readings, status, found, (home, deadline))
        try:
            result = await self._post(home.posting, deadline)
        except CounterFault:
            # Nothing was written; where no answer came, something may have been, and the rest stays beside it.
            await self._undo(readings, elsewhere, deadline)
            raise
        if result.status is Status.REPEATED:
            await self._undo(readings, [part for part in elsewhere if part.is_once], deadline)
        elif result.status is not Status.CHARGED:
            await self._undo(readings, elsewhere, deadline)
        if result.status in (Status.STALE, Status.MISMATCH):
            return result
        readings.take(home, result)
        return readings.result(result.status)

    async def _judge_elsewhere(
        self, readings: _Readings, parts: Sequence[Part], found: Sequence[PostResult | BaseException], deadline: float
    ) -> Status:
        """Return CHARGED where every part is; else undo those that are, and raise what one of them raised."""
        status = Status.CHARGED
        for part, result in zip(parts, found, strict=True):
            if isinstance(result, BaseException):
                continue
            readings.take(part, result)
            status = result.status if result.status is not Status.CHARGED else status
        failed = next((result for result in found if isinstance(result, BaseException)), None)
        if failed is not None or status is not Status.CHARGED:
            # Those without an answer as well: what they may have charged is theirs alone.
            await self._undo(readings, parts, deadline)
        if failed is not None:
            raise failed
        return status

    async def _refused(
        self,
        readings: _Readings,
        status: Status,
        found: Sequence[PostResult | BaseException],
        rest: tuple[Part, float],
    ) -> PostResult:
        if status is not Status.OVER:
            return next(result for result in found if isinstance(result, PostResult) and result.status is status)
        home, deadline = rest
        if not home.places:
            return readings.result(status)
        entries = [readings.posting.entries[place] for place in home.places]
        look = Posting([entry._replace(cost=0, is_held=False, is_shadow=True) for entry in entries])
        # Without an answer, whoever is told of the refusal is told less; it stands.
        with contextlib.suppress(StoreUnavailable, CounterFault):
            readings.take_look(home, await self._post(look, deadline))
        return readings.result(status)

    async def _undo(self, readings: _Readings, parts: Sequence[Part], deadline: float) -> None:
        holds = [part.posting.hold for part in parts if part.posting.hold is not None]
        undone = [
            self._settle(Settlement(hold.key, hold.decision_id, hold.about, Outcome.RELEASED), deadline)
            for hold in holds
        ]
        for result in await asyncio.gather(*undone, return_exceptions=True):
            # Lost, it stays charged: too much is counted, never too little.
            if isinstance(result, BaseException) and not isinstance(result, StoreUnavailable):
                raise result
        readings.forget(parts)


class _Readings:
    """The readings of a posting, gathered from its parts."""

    def __init__(self, posting: Posting) -> None:
        self.posting = posting
        self._found = [Reading(0, is_over=False)] * len(posting.entries)
        self._waits = [0] * len(posting.entries)
        self._added: set[int] = set()

    def take(self, part: Part, result: PostResult) -> None:
        """Take what a part was answered; a note has no place and is left out."""
        for place, reading, wait in zip(part.places, result.readings, result.waits_ms, strict=False):
            self._found[place], self._waits[place] = reading, wait
            if result.status is Status.CHARGED and not reading.is_over:
                self._added.add(place)

    def take_look(self, part: Part, result: PostResult) -> None:
        """Take what a look has found; what has windows or slides is judged by it."""
        for place, reading in zip(part.places, result.readings, strict=False):
            entry = self.posting.entries[place]
            is_over = entry.kind in _UNDOABLE and reading.used > entry.limit - entry.cost
            self._found[place] = Reading(reading.used, is_over)

    def forget(self, parts: Sequence[Part]) -> None:
        """Read as found what was added and undone."""
        for place in {place for part in parts for place in part.places} & self._added:
            entry = self.posting.entries[place]
            back = entry.cost if entry.kind in _UNDOABLE else 0
            self._found[place] = Reading(max(0, self._found[place].used - back), self._found[place].is_over)

    def result(self, status: Status) -> PostResult:
        """Return the answer to the whole posting."""
        return PostResult(status, tuple(self._found), tuple(self._waits))
