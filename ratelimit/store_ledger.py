"""A ledger in Redis or Valkey: the postings that wait go out together, in one script call.

`GatheredCalls` says when a posting is sent, and that it is sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from chassis.clock import Clock
from chassis.cluster_calls import calls_over
from chassis.ids import RandomIds
from chassis.store_cluster import StoreCluster
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from chassis.store_nodes import is_cluster
from ratelimit.ledger import (
    MAX_COUNT,
    CounterFault,
    Entry,
    Hold,
    Kind,
    Posting,
    PostResult,
    Reading,
    Settled,
    Settlement,
    Status,
    check_posting,
)
from ratelimit.slot_groups import SlotGroups, is_spread, others_of

_HIT, _CHARGE, _SETTLE, _OTHERS = "hit", "charge", "settle", "others"
_POISONED: Final = 2
_STORE_TIME: Final = 0


class StoreLedger:
    """A `Ledger` over a `StoreLink` that knows the scripts of `ledger_scripts`.

    Args:
        link: Started and stopped here.
        clock: `monotonic()` is what deadlines are measured on.
        judged_at_ms: For tests alone: the time to judge by, milliseconds since 1970; 0 is the store's own clock.
    """

    def __init__(self, link: StoreLink | StoreCluster, clock: Clock, judged_at_ms: int = _STORE_TIME) -> None:
        self.judged_at_ms = judged_at_ms
        self._hits = calls_over(
            link, _HIT, clock, lambda postings: pack_hits(postings, self.judged_at_ms), _read_posting
        )
        self._postings = calls_over(
            link, _CHARGE, clock, lambda postings: pack_postings(postings, self.judged_at_ms), _read_posting
        )
        self._settlements = calls_over(link, _SETTLE, clock, _pack_settlements, _read_settlement)
        self._others = calls_over(link, _OTHERS, clock, lambda holds: (list(holds), []), _read_notes)
        is_cluster = isinstance(link, StoreCluster)
        self._groups = SlotGroups(self._post_one, self._settle_one, RandomIds()) if is_cluster else None

    @classmethod
    def from_url(cls, url: str, clock: Clock, settings: StoreSettings = StoreSettings()) -> StoreLedger:  # noqa: B008
        """Return a ledger in the store at `url`; see `StoreLink` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        kind = StoreCluster if is_cluster(url) else StoreLink
        return cls(kind(url, ledger_scripts(), clock=clock, settings=settings), clock)

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._postings.start()

    async def stop(self) -> None:
        """Close the link; whoever still waits gets `StoreUnavailable`."""
        # Together: each refuses what it has not sent before any of them takes the link away.
        await asyncio.gather(*(calls.stop() for calls in (self._hits, self._postings, self._settlements, self._others)))

    @property
    def is_available(self) -> bool:
        """Whether a posting sent now has a store to go to."""
        return self._postings.is_available

    def doubt_about(self, key: str) -> str:
        """Why amounts cannot be counted at a key; asked after a posting, it knows what that posting's call found."""
        return self._postings.doubt_about(key)

    @property
    def is_doubted(self) -> bool:
        """Whether amounts cannot be counted at some key."""
        return self._postings.is_doubted

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store."""
        return self._postings.warnings()

    async def post(self, posting: Posting, deadline: float) -> PostResult:
        """Judge all entries, then add all or none; see `Ledger.post`."""
        check_posting(posting)
        if self._groups is not None and is_spread(posting):
            return await self._groups.post(posting, deadline)
        return await self._post_one(posting, deadline)

    async def _post_one(self, posting: Posting, deadline: float) -> PostResult:
        calls = self._hits if is_plain(posting) else self._postings
        return await calls.ask_at(posting.entries[0].key, posting, deadline)

    async def settle(self, settlement: Settlement, deadline: float) -> Settled:
        """Write the outcome of a held posting; see `Ledger.settle`."""
        settled = await self._settle_one(settlement, deadline)
        if self._groups is not None and settled is Settled.DONE:
            notes = await self._others.ask_at(settlement.key, settlement.key, deadline)
            others = others_of(settlement, notes)
            await asyncio.gather(*(self._settle_one(other, deadline) for other in others))
        return settled

    async def _settle_one(self, settlement: Settlement, deadline: float) -> Settled:
        return await self._settlements.ask_at(settlement.key, settlement, deadline)


def ledger_scripts() -> dict[str, str]:
    """Return the scripts that `StoreLedger` calls, under their names."""
    folder = files("ratelimit").joinpath("lua")
    return {name: folder.joinpath(f"{name}.lua").read_text("utf-8") for name in (_HIT, _CHARGE, _SETTLE, _OTHERS)}


def is_plain(posting: Posting) -> bool:
    """Tell whether a posting has windows alone and nothing to wait for: hit.lua, which costs half, counts it alike."""
    if posting.hold is not None:
        return False
    return all(entry.kind is Kind.WINDOW for entry in posting.entries)


def pack_hits(postings: Sequence[Posting], judged_at_ms: int) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of hit.lua, without the sequence number."""
    places: dict[str, int] = {}
    arguments: list[str | int] = [judged_at_ms, len(postings)]
    for posting in postings:
        arguments += (posting.valid_from_ms, posting.valid_until_ms, len(posting.entries))
        for entry in posting.entries:
            place = places.setdefault(entry.key, len(places) + 1)
            arguments += (place, entry.limit, entry.cost, entry.expires_in_seconds, int(entry.is_shadow))
    return list(places), arguments


def pack_postings(postings: Sequence[Posting], judged_at_ms: int) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of charge.lua, without the sequence number."""
    places: dict[str, int] = {}
    arguments: list[str | int] = [judged_at_ms, len(postings)]
    for posting in postings:
        arguments += (posting.valid_from_ms, posting.valid_until_ms)
        _pack_hold(posting.hold, places, arguments)
        arguments.append(len(posting.entries))
        for entry in posting.entries:
            _pack_entry(entry, places, arguments)
    return list(places), arguments


def _pack_hold(hold: Hold | None, places: dict[str, int], arguments: list[str | int]) -> None:
    if hold is None:
        arguments.append(0)
        return
    arguments += (_place(hold.key, places), hold.decision_id, hold.about, hold.seconds)
    if hold.identity is None:
        arguments.append(0)
        return
    arguments += (_place(hold.identity.key, places), hold.identity.digest, hold.identity.seconds)


def _pack_entry(entry: Entry, places: dict[str, int], arguments: list[str | int]) -> None:
    flags = entry.is_shadow + 2 * entry.is_once + 4 * entry.is_held
    arguments += (entry.kind.value, _place(entry.key, places), entry.limit, entry.cost, entry.expires_in_seconds, flags)
    arguments += (entry.step, entry.buckets)
    if entry.kind >= Kind.DISTINCT:
        arguments.append(entry.member)


def _place(key: str, places: dict[str, int]) -> int:
    return places.setdefault(key, len(places) + 1)


def _read_posting(posting: Posting, answer: Any) -> PostResult | Exception:
    if answer == [_POISONED]:
        return CounterFault("a key holds no counter")
    result = _post_result(answer, len(posting.entries))
    return StoreUnavailable(Unavailability.PROTOCOL) if result is None else result


def _post_result(answer: Any, entries: int) -> PostResult | None:
    """Read `{status}`, `{3, now_ms}` or `{status, used, over, ...}`; None for anything else."""
    if type(answer) is not list or not all(type(number) is int and 0 <= number <= MAX_COUNT for number in answer):
        return None
    match answer:
        case [Status.STALE, now_ms]:
            return PostResult(Status.STALE, now_ms=now_ms)
        case [Status.MISMATCH]:
            return PostResult(Status.MISMATCH)
        case [Status.OVER | Status.CHARGED | Status.REPEATED as status, *numbers] if len(numbers) == 2 * entries:
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            readings = tuple(Reading(used, over > 0) for used, over in pairs)
            return PostResult(Status(status), readings, tuple(max(0, over - 1) for _, over in pairs))
    return None


def _pack_settlements(settlements: Sequence[Settlement]) -> tuple[list[str], list[str | int]]:
    arguments: list[str | int] = []
    for settlement in settlements:
        arguments += (settlement.outcome.value, settlement.decision_id, settlement.about)
    return [settlement.key for settlement in settlements], arguments


def _read_settlement(_settlement: Settlement, answer: Any) -> Settled | Exception:
    if type(answer) is int and answer in tuple(Settled):
        return Settled(answer)
    return StoreUnavailable(Unavailability.PROTOCOL)


def _read_notes(_hold: str, answer: Any) -> list[str] | Exception:
    if type(answer) is list and all(type(note) is bytes and note.isascii() for note in answer):
        return [note.decode() for note in answer]
    return StoreUnavailable(Unavailability.PROTOCOL)
