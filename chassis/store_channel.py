"""One connection of the store link, from its first call to its end, and the queue of its callers.

Called by `store_link` alone. A channel ends once and for good; the link makes a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from chassis.clock import Clock

log = logging.getLogger(__name__)


class Unavailability(Enum):
    """Why there is no answer; the values are fixed texts for logs and records."""

    NOT_CONNECTED = "the store is not connected"
    DEADLINE = "the deadline passed"
    FULL = "the store's queue is full"
    NO_ROOM = "the store holds as many as it may"
    STALLED = "the store has stopped answering"
    MOVED = "another node of the store holds the counters now"
    NOT_REPLICATED = "too few replicas have confirmed it"
    LOST = "the connection was lost"
    SLOW = "the store did not reply in time"
    PROTOCOL = "the store's reply was not understood"
    ERROR_REPLY = "the store answered with an error"
    STOPPED = "the link was stopped"


class StoreUnavailable(Exception):  # noqa: N818 - the word of the decision path
    """The store gave no answer; the call may have run all the same, and is never repeated.

    Attributes:
        reason: Fixed text; no address, key or text of the server.
    """

    def __init__(self, why: Unavailability) -> None:
        super().__init__(why.value)
        self.why = why
        self.reason = why.value


@dataclass(frozen=True, slots=True)
class _Waiting:
    sequence: int
    sent_at: float
    reply: asyncio.Future[list[Any]]
    see: Callable[[Any], None] | None


class _Surprise(Exception):  # noqa: N818 - ends the reader, never leaves this module
    """The next reply does not belong to the next caller."""


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """What a channel keeps to.

    Attributes:
        reply_timeout_seconds: The oldest call unanswered for so long ends the channel.
        replicas: Behind each call a WAIT was sent, and fewer replicas that confirm are no answer; 0: no WAIT.
    """

    reply_timeout_seconds: float
    replicas: int = 0


class StoreChannel:
    """An open connection whose replies come in the order of its calls.

    Args:
        connection: A redis-py connection, connected, with every reply read so far.
        clock: `monotonic()` stamps calls.
        rules: See there.
    """

    def __init__(self, connection: Any, clock: Clock, rules: ChannelRules) -> None:
        self._connection = connection
        # Written to directly: redis-py's own send would reopen a closed socket, and a caller that
        # is cancelled while it waits there would close an open one.
        self._writer: asyncio.StreamWriter = connection._writer
        self._clock = clock
        self._reply_timeout_seconds = rules.reply_timeout_seconds
        self._replicas = rules.replicas
        self._unconfirmed: list[Any] | Unavailability | None = None
        self._queue: deque[_Waiting] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._ended: Unavailability | None = None
        self._reader: asyncio.Task[None] | None = None
        self.has_answered = False

    @property
    def is_open(self) -> bool:
        """Whether a call can be sent."""
        return self._ended is None and not self._writer.is_closing()

    def is_full(self, max_waiting_calls: int, max_unsent_bytes: int) -> bool:
        """Return whether one more call would exceed a bound."""
        if len(self._queue) >= max_waiting_calls:
            return True
        return self._writer.transport.get_write_buffer_size() > max_unsent_bytes

    def is_stalled(self, since: float) -> bool:
        """Return whether the oldest call unanswered was sent before `since`."""
        return bool(self._queue) and self._queue[0].sent_at < since

    def send(
        self, packed: bytes, sequence: int, now: float, see: Callable[[Any], None] | None = None
    ) -> asyncio.Future[list[Any]]:
        """Queue a caller and write its call; the two never come apart, for nothing awaits between them.

        `see` takes what the reply carries after its sequence number, before the caller gets the rest; None: nothing
        stands there.
        """
        reply: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(sequence, now, reply, see))
        self._writer.write(packed)
        if self._watch is None:
            self._arm(self._reply_timeout_seconds)
        return reply

    async def run(self) -> Unavailability:
        """Read replies until the channel ends; return why it ended.

        Cancelled, it ends the channel too. Every caller has its answer when this returns.
        """
        self._reader = asyncio.create_task(self._read(), name="store-reader")
        try:
            await asyncio.wait((self._reader,))
        finally:
            self._end(Unavailability.STOPPED)
            # Closed before anything is waited for: a second cancellation may end the waiting.
            await self._close()
            await asyncio.wait((self._reader,))
        if not self._reader.cancelled() and (error := self._reader.exception()) is not None:
            log.error("store_reader_failed: %s", type(error).__name__)
        return self._ended or Unavailability.STOPPED

    async def _read(self) -> None:
        why = Unavailability.PROTOCOL
        try:
            while self._ended is None:
                # No time-out and no disconnect of redis-py's: a late reply is still this connection's next one.
                self._settle(await self._next_reply())
        except ResponseError:
            why = Unavailability.ERROR_REPLY
        except (InvalidResponse, _Surprise, ValueError):
            why = Unavailability.PROTOCOL
        except (RedisError, OSError):
            why = Unavailability.LOST
        finally:
            self._end(why)

    async def _next_reply(self) -> Any:
        try:
            return await self._connection.read_response(
                disable_decoding=True, timeout=math.inf, disconnect_on_error=False
            )
        except (MovedError, AskError, TryAgainError, ClusterDownError) as error:
            return error

    def _settle(self, reply: Any) -> None:
        if not self._queue:
            raise _Surprise
        if self._unconfirmed is not None:
            self._confirm(self._unconfirmed, reply)
            return
        if isinstance(reply, ResponseError):
            self._elsewhere()
            return
        waiting = self._queue[0]
        if type(reply) is not list or not reply or type(reply[0]) is not int or reply[0] != waiting.sequence:
            raise _Surprise
        if any(isinstance(element, Exception) for element in reply):
            raise _Surprise
        if waiting.see is not None:
            if len(reply) < 2:
                raise _Surprise
            waiting.see(reply.pop(1))
        if self._replicas:
            self._unconfirmed = reply[1:]
        else:
            self._answer(reply[1:])

    def _elsewhere(self) -> None:
        """Answer a call that a cluster's node refused because the keys are not its own (now): it did not run.

        The reply stands in its place, so the calls behind it have theirs; the connection goes on.
        """
        if self._replicas:
            self._unconfirmed = Unavailability.MOVED
        else:
            self._answer(Unavailability.MOVED)

    def _confirm(self, result: list[Any] | Unavailability, replicas: Any) -> None:
        """Take the answer of the WAIT behind a call: the call has run, but who fails over may forget it."""
        if type(replicas) is not int:
            raise _Surprise
        self._unconfirmed = None
        has_run = isinstance(result, list)
        self._answer(Unavailability.NOT_REPLICATED if has_run and replicas < self._replicas else result)

    def _answer(self, result: list[Any] | Unavailability) -> None:
        reply = self._queue.popleft().reply
        self.has_answered = True
        if reply.done():
            return
        if isinstance(result, Unavailability):
            reply.set_exception(StoreUnavailable(result))
        else:
            reply.set_result(result)

    def _arm(self, seconds: float) -> None:
        self._watch = asyncio.get_running_loop().call_later(seconds, self._look_at_oldest)

    def _look_at_oldest(self) -> None:
        self._watch = None
        if self._ended is not None or not self._queue:
            return
        left = self._queue[0].sent_at + self._reply_timeout_seconds - self._clock.monotonic()
        if left > 0:
            self._arm(left)
        else:
            self._end(Unavailability.SLOW)

    def _end(self, why: Unavailability) -> None:
        """Close the socket and answer everyone; only the first call does anything."""
        if self._ended is not None:
            return
        self._ended = why
        if self._watch is not None:
            self._watch.cancel()
        # What the socket has not taken yet is dropped, not delivered after its callers were told no.
        self._writer.transport.abort()
        if self._reader is not None:
            self._reader.cancel()
        while self._queue:
            reply = self._queue.popleft().reply
            if not reply.done():
                reply.set_exception(StoreUnavailable(why))

    async def _close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)
