"""Counters of descriptors in Redis or Valkey: requests that wait go out together, in one script call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from chassis.clock import Clock
from chassis.cluster_calls import ClusterCalls
from chassis.gathered_calls import GatheredCalls
from chassis.store_cluster import StoreCluster, slot_of
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from chassis.store_nodes import is_cluster
from ratelimit.descriptors.tally import Count, Hit, Law, WindowPassed, check_hits
from ratelimit.ledger import MAX_COUNT, CounterFault

_SCRIPT: Final = "tally"
_POISONED, _COUNTED, _PASSED = 0, 1, 2


class _Asked(NamedTuple):
    hits: Sequence[Hit]
    law: Law


class StoreTally:
    """A `TallyStore` over a `StoreLink` or `StoreCluster` that knows the script `tally`.

    In a cluster, hits that are taken together share a hash tag, and hits that are taken each for itself need not.
    """

    def __init__(self, link: StoreLink | StoreCluster, clock: Clock) -> None:
        self._calls: GatheredCalls[_Asked, tuple[Count, ...]] | ClusterCalls[_Asked, tuple[Count, ...]]
        if isinstance(link, StoreCluster):
            self._calls = ClusterCalls(link, _SCRIPT, clock, _pack, _read)
        else:
            self._calls = GatheredCalls(link, _SCRIPT, clock, _pack, _read)

    @classmethod
    def from_url(cls, url: str, clock: Clock, settings: StoreSettings = StoreSettings()) -> StoreTally:  # noqa: B008
        """Return counters in the store at `url`; see `StoreLink` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        kind = StoreCluster if is_cluster(url) else StoreLink
        return cls(kind(url, tally_scripts(), clock=clock, settings=settings), clock)

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._calls.start()

    async def stop(self) -> None:
        """Close the link; whoever waits gets `StoreUnavailable`."""
        await self._calls.stop()

    @property
    def is_available(self) -> bool:
        """Whether a request now has a store to go to."""
        return self._calls.is_available

    async def tally(self, hits: Sequence[Hit], law: Law, deadline: float) -> tuple[Count, ...]:
        """Take the hits of one request; see `TallyStore.tally`."""
        check_hits(hits)
        calls = self._calls
        if isinstance(calls, GatheredCalls):
            return await calls.ask(_Asked(hits, law), deadline)
        if law is not Law.EACH or len(hits) == 1:
            return await calls.ask_at(hits[0].key, _Asked(hits, law), deadline)
        return await _each_in_its_slot(calls, hits, deadline)


async def _each_in_its_slot(
    calls: ClusterCalls[_Asked, tuple[Count, ...]], hits: Sequence[Hit], deadline: float
) -> tuple[Count, ...]:
    slots: dict[int, list[int]] = {}
    for place, hit in enumerate(hits):
        slots.setdefault(slot_of(hit.key), []).append(place)
    asked = [_Asked([hits[place] for place in places], Law.EACH) for places in slots.values()]
    answers = await asyncio.gather(*(calls.ask_at(each.hits[0].key, each, deadline) for each in asked))
    counts: dict[int, Count] = {}
    for places, answer in zip(slots.values(), answers, strict=True):
        counts.update(zip(places, answer, strict=True))
    return tuple(counts[place] for place in range(len(hits)))


def tally_scripts() -> dict[str, str]:
    """Return the script that `StoreTally` calls, under its name."""
    return {_SCRIPT: files("ratelimit").joinpath("lua", "tally.lua").read_text("utf-8")}


def _pack(asked: Sequence[_Asked]) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of tally.lua, without the sequence number."""
    places: dict[str, int] = {}
    arguments: list[str | int] = [len(asked)]
    for hits, law in asked:
        arguments += (int(law), len(hits), max(hit.window[0] for hit in hits), _end(hits))
        for key, limit, cost, is_given_back, life_seconds, role, _ in hits:
            place = places.setdefault(key, len(places) + 1)
            arguments += (place, limit, cost, int(is_given_back), life_seconds, int(role))
    return list(places), arguments


def _end(hits: Sequence[Hit]) -> int:
    """Return the first moment after the window that ends first, milliseconds since 1970; 0 where none has one."""
    return min((hit.window[1] for hit in hits if hit.window[1]), default=0)


def _read(asked: _Asked, answer: Any) -> tuple[Count, ...] | Exception:
    if answer == [_POISONED]:
        return CounterFault("a key holds no counter")
    if type(answer) is list and len(answer) == 2 and answer[0] == _PASSED and _is_count(answer[1]):
        return WindowPassed(answer[1])
    counts = _counts(answer, len(asked.hits))
    return StoreUnavailable(Unavailability.PROTOCOL) if counts is None else counts


def _counts(answer: Any, hits: int) -> tuple[Count, ...] | None:
    """Read `{1, found, after, over, ...}`; None for anything else."""
    if type(answer) is not list or len(answer) != 1 + 3 * hits or answer[0] != _COUNTED:
        return None
    counts = []
    for place in range(1, len(answer), 3):
        found, after, over = answer[place : place + 3]
        if not _is_count(found) or not _is_count(after) or over not in (0, 1):
            return None
        counts.append(Count(found, after, over == 1))
    return tuple(counts)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT
