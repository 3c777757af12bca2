"""One timer of the event loop for the deadlines of many callers.

Called by whoever lets callers wait for an answer that comes from elsewhere. A timer of the loop for each caller
costs several times what an entry in a heap does, and almost none of them ever fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from chassis.clock import Clock


class Deadlines:
    """Gives up futures whose time has come; belongs to one event loop.

    Args:
        clock: `monotonic()` is what deadlines are measured on.
        give_up: Called with each future that is not done when its deadline passes.
    """

    def __init__(self, clock: Clock, give_up: Callable[[asyncio.Future[Any]], None]) -> None:
        self._clock = clock
        self._give_up = give_up
        # The number keeps two entries of one deadline from being compared by their futures.
        self._heap: list[tuple[float, int, asyncio.Future[Any]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def watch(self, future: asyncio.Future[Any], deadline: float, now: float) -> None:
        """Give up `future` unless it is done by `deadline`; both times are on the clock's `monotonic()`."""
        heap = self._heap
        # Those that have their answer leave as soon as they are in front, so the heap stays as small as the load.
        while heap and heap[0][2].done():
            heappop(heap)
        heappush(heap, (deadline, next(self._numbers), future))
        if self._timer is None or deadline < self._fires_at:
            self._arm(deadline, now)

    def stop(self) -> None:
        """Forget everyone; the futures still waiting are left as they are."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, deadline: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = deadline
        self._timer = asyncio.get_running_loop().call_later(max(deadline - now, 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        heap, now = self._heap, self._clock.monotonic()
        while heap and (heap[0][0] <= now or heap[0][2].done()):
            future = heappop(heap)[2]
            if not future.done():
                self._give_up(future)
        if heap:
            self._arm(heap[0][0], now)
