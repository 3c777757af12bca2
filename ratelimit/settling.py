"""Takes the access-log stream, and writes outcomes to the ledger beside the request path.

Its law: nothing here can hold a payment up or let one pass. What does not fit or cannot be written in time is dropped
and counted, and its payment stays counted as spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge

from chassis.access_log import REPLY, read_entries
from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from policy.handoff import METADATA_NAMESPACE
from ratelimit.ledger import CounterFault, Ledger, Settled, Settlement
from ratelimit.outcomes import OutcomeReader

MAX_WAITING: Final = 20_000
MAX_AGE_SECONDS: Final = 60.0
"""An outcome that could not be written for so long is dropped."""
AT_ONCE: Final = 64
_ANSWER_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 2.0

_WORDS: Final = {
    Settled.DONE: "settled",
    Settled.WAITS: "settled",
    Settled.UNKNOWN: "unmatched",
    Settled.OTHERWISE: "contradicted",
}

log = logging.getLogger("ratelimit.outcomes")


class _Waiting(NamedTuple):
    settlement: Settlement
    since: float


class OutcomeMetrics:
    """Counts outcomes by what they say and what became of them.

    Args:
        registry: Where the counts are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.outcomes = Counter("tollhouse_outcomes", "Outcomes of payments, by kind.", ("kind",), registry=registry)
        self.entries = Counter(
            "tollhouse_outcome_entries", "Access log entries, by what became of them.", ("what",), registry=registry
        )
        self.waiting = Gauge("tollhouse_outcomes_waiting", "Outcomes that are not written yet.", registry=registry)


class Settling:
    """Serves `StreamAccessLogs`, and settles.

    Args:
        reader: Makes settlements of entries.
        ledger: That of the requests; started and stopped by the service, after and before this.
        clock: Monotonic time for ages and deadlines.
        registry: Takes the metrics.
    """

    def __init__(self, reader: OutcomeReader, ledger: Ledger, clock: Clock, registry: CollectorRegistry) -> None:
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._metrics = OutcomeMetrics(registry)
        self._metrics.waiting.set_function(lambda: float(len(self._waiting)))
        self._waiting: deque[_Waiting] = deque()
        self._has_work = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def collect(self, messages: AsyncIterator[bytes]) -> bytes:
        """Take the entries of one stream; a message that cannot be read ends it (`RpcError`)."""
        async for message in messages:
            self.take(message)
        return REPLY

    def take(self, message: bytes) -> None:
        """Take the entries of one message; raises RpcError for bytes that are none."""
        now = self._clock.monotonic()
        for entry in read_entries(message, METADATA_NAMESPACE):
            found = self._reader.read(entry)
            if isinstance(found, str):
                self._metrics.entries.labels(found).inc()
            elif len(self._waiting) >= MAX_WAITING:
                self._metrics.entries.labels("dropped").inc()
            else:
                self._metrics.outcomes.labels(found.outcome.name.lower()).inc()
                self._waiting.append(_Waiting(found, now))
        self._has_work.set()

    async def start(self) -> None:
        """Begin to settle."""
        self._task = asyncio.create_task(self._work(), name="outcomes")

    async def stop(self) -> None:
        """Write what waits, for a moment; the rest is dropped, and its payments stay counted."""
        task, self._task = self._task, None
        if task is None:
            return
        self._is_idle.clear()
        self._has_work.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._is_idle.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if self._waiting:
            log.warning("outcomes_dropped: %d at the stop; their payments stay counted", len(self._waiting))

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                self._is_idle.set()
            await self._has_work.wait()
            self._has_work.clear()
            while self._waiting:
                # Looked at, and taken off once they are written: a stop in between leaves them in the count.
                batch = [self._waiting[place] for place in range(min(AT_ONCE, len(self._waiting)))]
                answers = await asyncio.gather(*(self._settle(each) for each in batch))
                for _ in batch:
                    self._waiting.popleft()
                late = [each for each, is_done in zip(batch, answers, strict=True) if not is_done]
                self._waiting.extendleft(reversed(late))
                if late:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _settle(self, waiting: _Waiting) -> bool:
        """Write one outcome; False when it shall be tried again, which is no harm."""
        now = self._clock.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                settled = await self._ledger.settle(waiting.settlement, now + _ANSWER_SECONDS)
        except (StoreUnavailable, TimeoutError):
            if now < waiting.since + MAX_AGE_SECONDS:
                return False
            what = "dropped"
        except CounterFault:
            what = "malformed"
        except Exception:
            # One outcome that meets a fault of ours must not end the others.
            log.exception("an outcome could not be settled")
            what = "dropped"
        else:
            what = _WORDS[settled]
        self._metrics.entries.labels(what).inc()
        return True
