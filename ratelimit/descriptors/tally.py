"""Step `hit` for descriptors: what a store of their counters promises, whichever it is.

It differs from `ratelimit.ledger` in what descriptors need: hits that are given back, the same counter twice in one
request, and, for whoever must behave as envoyproxy/ratelimit, hits that are added although they are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from chassis.store_link import StoreUnavailable, Unavailability
from ratelimit.ledger import MAX_COUNT, MAX_TEXT_BYTES, CounterFault

MAX_HITS_PER_TALLY: Final = 256
MAX_LIFE_SECONDS: Final = 2 * 366 * 86_400


class Law(IntEnum):
    """How the hits of one request are taken together.

    ALL_OR_NONE: all are checked first. A `HARD` one over its limit, and nothing is added. Else `QUOTA` ones are added
        even when they do not fit: they stand for what was used already, and use that is not written down could be
        repeated for ever. The others are added when they fit, unless all of one or more `QUOTA` ones are over, which
        refuses the request too. A look is over when nothing is left.
    EACH: each is added, whether it fits or not (envoyproxy/ratelimit).
    EACH_OVER: when one is over, those that are over are added and no others; else all
        (envoyproxy/ratelimit, `STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT`).
    """

    ALL_OR_NONE = 0
    EACH = 1
    EACH_OVER = 2


class Role(IntEnum):
    """What a hit that does not fit means for the request."""

    HARD = 0
    SHADOW = 1
    QUOTA = 2


class Hit(NamedTuple):
    """One descriptor's hit on its counter.

    Attributes:
        key: Name of the counter, its window included.
        limit: What the counter may reach, 0 to 4294967295.
        cost: What is added, 0 to `MAX_COUNT`; 0 looks.
        is_given_back: The cost is taken off instead, down to 0 and never below; that always fits.
        life_seconds: The counter is forgotten so long after it was last written.
        role: What it means when it does not fit.
        window: First moment of its window and first moment after it, milliseconds since 1970, by the store's clock;
            (0, 0): whoever asks answers for the time.
    """

    key: str
    limit: int
    cost: int
    is_given_back: bool
    life_seconds: int
    role: Role = Role.HARD
    window: tuple[int, int] = (0, 0)


class WindowPassed(StoreUnavailable):
    """The store's clock is outside the window of a hit: nothing was counted in that call.

    Attributes:
        now_ms: The store's time, milliseconds since 1970.
    """

    def __init__(self, now_ms: int) -> None:
        super().__init__(Unavailability.PROTOCOL)
        self.now_ms = now_ms


class Count(NamedTuple):
    """What became of one hit.

    Attributes:
        found: The count before it, earlier hits of the same request included.
        after: The count after it; equal to `found` when nothing was added.
        is_over: It does not fit.
    """

    found: int
    after: int
    is_over: bool


class TallyStore(Protocol):
    """Where the counters of descriptors live."""

    async def start(self) -> None:
        """Begin background work; never fails because a remote store is away."""

    async def stop(self) -> None:
        """End background work; whoever waits gets `StoreUnavailable`."""

    async def tally(self, hits: Sequence[Hit], law: Law, deadline: float) -> tuple[Count, ...]:
        """Take the hits of one request.

        Args:
            hits: At least one; a key may come several times.
            law: How they are taken together.
            deadline: On `Clock.monotonic()`; past it nobody waits for the answer.

        Returns:
            One count a hit, in their order.

        Raises:
            StoreUnavailable: No answer. The hits may have been counted all the same, and are never sent twice.
            WindowPassed: Nothing was counted: the windows are not those of the store's time.
            CounterFault: Nothing was counted: an argument is out of range or a key holds no counter.
        """

    @property
    def is_available(self) -> bool:
        """Whether a request now has a store to go to."""


def check_hits(hits: Sequence[Hit]) -> None:
    """Raise `CounterFault` unless a store can count these hits exactly."""
    if not 1 <= len(hits) <= MAX_HITS_PER_TALLY:
        raise CounterFault("a tally needs between 1 and 256 hits")
    for hit in hits:
        if not 0 <= hit.cost <= MAX_COUNT or not 0 <= hit.limit <= MAX_COUNT:
            raise CounterFault("limit and cost must be whole numbers up to 2^53-1")
        if not 1 <= hit.life_seconds <= MAX_LIFE_SECONDS:
            raise CounterFault("the life of a counter must be between a second and two years")
        if not 1 <= len(hit.key.encode()) <= MAX_TEXT_BYTES:
            raise CounterFault("a key must be text of 1 to 1024 bytes")
