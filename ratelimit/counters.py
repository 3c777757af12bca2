"""Step `hit`: what a counter store promises, whichever it is.

The pipeline asks `CounterStore.hit` once per request. The law of every store: all enforced charges
are checked first; one of them over its limit, and nothing at all is written (a denied request is
free). Else every enforced charge is added, and each shadow charge that is itself not over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MAX_COUNT = 2**53 - 1
"""Largest limit, cost and count: above it the store's Lua, which computes in doubles, miscounts."""
MAX_EXPIRY_SECONDS = 10 * 366 * 86_400
MAX_CHARGES_PER_HIT = 64
MAX_KEY_BYTES = 1024


class Charge(NamedTuple):
    """One counter of one hit.

    An immutable tuple: several are made for every request, and one costs a third of a frozen dataclass.

    Attributes:
        key: The counter's name, at most `MAX_KEY_BYTES` of UTF-8; it names its window too.
        limit: The counter never goes above this, 0 to `MAX_COUNT`.
        cost: What this hit adds, 0 to `MAX_COUNT`; 0 looks and writes nothing.
        expires_in_seconds: The counter is forgotten this long after its last charge, 1 to
            `MAX_EXPIRY_SECONDS`.
        is_shadow: Counted and reported, never a reason to refuse the hit.
    """

    key: str
    limit: int
    cost: int
    expires_in_seconds: int
    is_shadow: bool = False


class Reading(NamedTuple):
    """What the store found for one charge.

    Attributes:
        used: The count after this hit when it was added, else the count as found.
        is_over: The count as found plus the cost is above the limit.
    """

    used: int
    is_over: bool


class HitResult(NamedTuple):
    """The outcome of one hit; `readings` stand in the order of its charges."""

    is_charged: bool
    readings: tuple[Reading, ...]


class CounterFault(Exception):  # noqa: N818 - the word of the store's law
    """One hit alone failed and wrote nothing: a key holds no counter, or an argument is out of range.

    The text is fixed; it names neither key nor value.
    """


class CounterStore(Protocol):
    """Where counters live."""

    async def start(self) -> None:
        """Begin background work; never fails because a remote store is away."""

    async def stop(self) -> None:
        """End background work; hits still waiting get `StoreUnavailable`."""

    async def hit(self, charges: Sequence[Charge], deadline: float) -> HitResult:
        """Check all charges, then add all or none.

        Args:
            charges: At least one, no key twice.
            deadline: On `Clock.monotonic()`; past it nobody waits for the answer.

        Raises:
            StoreUnavailable: No answer. The hit may have been counted all the same, and is never sent twice.
            CounterFault: This hit alone cannot be counted; nothing was written for it.
        """

    @property
    def is_available(self) -> bool:
        """Whether a hit sent now has a store to go to."""

    def doubt_about(self, key: str) -> str:
        """Return why amounts cannot be counted at a key, a fixed text; empty when nothing speaks against it.

        Asked after a hit, it knows what that hit's call found: an emptied store is noticed by the first hit after.
        """

    @property
    def is_doubted(self) -> bool:
        """Whether amounts cannot be counted at some key."""

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store, doubts included."""


def check_charges(charges: Sequence[Charge]) -> None:
    """Raise `CounterFault` unless a store can count these charges exactly."""
    if not 1 <= len(charges) <= MAX_CHARGES_PER_HIT:
        raise CounterFault("a hit needs between 1 and 64 charges")
    for charge in charges:
        _check_charge(charge)
    if len(charges) > 1 and len({charge.key for charge in charges}) != len(charges):
        # Judged one by one, each would pass where their sum does not.
        raise CounterFault("two charges of one hit name the same counter")


def _check_charge(charge: Charge) -> None:
    if not _is_whole(charge.limit, 0, MAX_COUNT) or not _is_whole(charge.cost, 0, MAX_COUNT):
        raise CounterFault("limit and cost must be whole numbers up to 2^53-1")
    if not _is_whole(charge.expires_in_seconds, 1, MAX_EXPIRY_SECONDS):
        raise CounterFault("the expiry must be a whole number of seconds")
    if not _is_key(charge.key):
        raise CounterFault("a key must be text of 1 to 1024 bytes")


def _is_whole(value: int, lowest: int, highest: int) -> bool:
    return type(value) is int and lowest <= value <= highest


def _is_key(key: str) -> bool:
    if type(key) is not str or not 1 <= len(key) <= MAX_KEY_BYTES:
        return False
    if key.isascii():
        return True
    try:
        return len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False
