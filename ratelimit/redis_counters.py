"""Counters in Redis or Valkey: the hits that wait go out together, in one call.

Each hit is judged on its own and in order; `GatheredCalls` says when it is sent, and that it is sent once.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from chassis.clock import Clock
from chassis.cluster_calls import calls_over
from chassis.store_cluster import StoreCluster
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from chassis.store_nodes import is_cluster
from ratelimit.counters import MAX_COUNT, Charge, CounterFault, HitResult, Reading, check_charges

_SCRIPT = "hit"
_CHARGED, _OVER, _POISONED = 1, 0, 2


class RedisCounters:
    """A `CounterStore` over a `StoreLink` that knows the script `hit`."""

    def __init__(self, link: StoreLink | StoreCluster, clock: Clock) -> None:
        self._calls = calls_over(link, _SCRIPT, clock, pack_hits, _read_answer)

    @classmethod
    def from_url(cls, url: str, clock: Clock, settings: StoreSettings = StoreSettings()) -> RedisCounters:  # noqa: B008
        """Return counters in the store at `url`; see `StoreLink` and `StoreCluster` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        kind = StoreCluster if is_cluster(url) else StoreLink
        return cls(kind(url, hit_scripts(), clock=clock, settings=settings), clock)

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._calls.start()

    async def stop(self) -> None:
        """Close the link; hits still waiting get `StoreUnavailable`."""
        await self._calls.stop()

    @property
    def is_available(self) -> bool:
        """Whether a hit sent now has a store to go to."""
        return self._calls.is_available

    def doubt_about(self, key: str) -> str:
        """Why amounts cannot be counted at a key; empty without a watch, and when it has none."""
        return self._calls.doubt_about(key)

    @property
    def is_doubted(self) -> bool:
        """Whether amounts cannot be counted at some key."""
        return self._calls.is_doubted

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store."""
        return self._calls.warnings()

    async def hit(self, charges: Sequence[Charge], deadline: float) -> HitResult:
        """Check all charges, then add all or none; see `CounterStore.hit`."""
        check_charges(charges)
        # A caller that has given up before its hit was sent is never charged.
        # All charges of a hit share their hash tag, the merchant.
        return await self._calls.ask_at(charges[0].key, charges, deadline)


def hit_scripts() -> dict[str, str]:
    """Return the script that `RedisCounters` calls, under its name."""
    return {_SCRIPT: files("ratelimit").joinpath("lua", "hit.lua").read_text("utf-8")}


def pack_hits(hits: Sequence[Sequence[Charge]]) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of hit.lua, without the sequence number."""
    places: dict[str, int] = {}
    arguments: list[str | int] = [len(hits)]
    for charges in hits:
        arguments.append(len(charges))
        for charge in charges:
            place = places.setdefault(charge.key, len(places) + 1)
            arguments += (place, charge.limit, charge.cost, charge.expires_in_seconds, int(charge.is_shadow))
    return list(places), arguments


def _read_answer(charges: Sequence[Charge], answer: Any) -> HitResult | Exception:
    if answer == [_POISONED]:
        return CounterFault("a key holds no counter")
    result = _result(answer, len(charges))
    return StoreUnavailable(Unavailability.PROTOCOL) if result is None else result


def _result(answer: Any, charges: int) -> HitResult | None:
    """Read `{status, used, over, used, over, ...}`; None for anything else."""
    if type(answer) is not list or len(answer) != 1 + 2 * charges or answer[0] not in (_CHARGED, _OVER):
        return None
    readings = []
    for place in range(1, len(answer), 2):
        used, over = answer[place], answer[place + 1]
        if type(used) is not int or not 0 <= used <= MAX_COUNT or over not in (0, 1):
            return None
        readings.append(Reading(used, over == 1))
    return HitResult(answer[0] == _CHARGED, tuple(readings))
