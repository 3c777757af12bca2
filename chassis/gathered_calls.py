"""What callers ask of the store at about the same time goes out together, in one script call.

Used by whoever has a script that answers many questions at once. A call costs several times what one more question in
it does, so while one has no reply yet, questions gather for the next one, and calls grow with the load; a question that
finds no call under way is sent in the same tick. Its law: each question keeps its own deadline, and none is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from chassis.clock import Clock
from chassis.deadlines import Deadlines
from chassis.store_link import StoreUnavailable, Unavailability, give_up
from chassis.store_watch import StoreWatch

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MAX_IN_CALL: Final = 128
MAX_WAITING: Final = 8192


class Link(Protocol):
    """What calls go over: a `StoreLink`, or the way to one slot of a cluster."""

    @property
    def watch(self) -> StoreWatch | None:
        """Who judges its epoch; None: nobody."""

    @property
    def is_connected(self) -> bool:
        """Whether a call made now would be sent."""

    @property
    def is_stalled(self) -> bool:
        """Whether the store has left a call unanswered for too long."""

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""

    async def stop(self) -> None:
        """Close; callers still waiting get `StoreUnavailable`."""

    def submit(
        self, script: str, keys: Sequence[str], args: Sequence[str | int], deadline: float
    ) -> asyncio.Future[list[Any]]:
        """Send one call; see `StoreLink.submit`."""


class _Waiting(Generic[Question, Answer]):
    """One caller: what it asks, until when, and where its answer goes."""

    __slots__ = ("answer", "deadline", "question")

    def __init__(self, question: Question, deadline: float, answer: asyncio.Future[Answer]) -> None:
        self.question = question
        self.deadline = deadline
        self.answer = answer


class GatheredCalls(Generic[Question, Answer]):
    """The calls of one script over one link; belongs to one event loop.

    Args:
        link: Knows the script; started and stopped here.
        script: Its name. It answers a list, with one item a question in their order.
        clock: `monotonic()` is what deadlines are measured on.
        pack: Returns KEYS and ARGV of the questions, without the sequence number.
        read: Returns the answer to a question from its item, or the exception that its caller gets.
    """

    def __init__(
        self,
        link: Link,
        script: str,
        clock: Clock,
        pack: Callable[[Sequence[Question]], tuple[Sequence[str], Sequence[str | int]]],
        read: Callable[[Question, Any], Answer | Exception],
    ) -> None:
        self._link = link
        self._script = script
        self._clock = clock
        self._pack = pack
        self._read = read
        self._waiting: list[_Waiting[Question, Answer]] = []
        self._is_sending = False
        self._is_under_way = False
        self._deadlines = Deadlines(clock, give_up)

    @property
    def is_available(self) -> bool:
        """Whether a question asked now has a store to go to."""
        return self._link.is_connected

    def doubt_about(self, key: str) -> str:
        """Return why the store cannot be trusted to remember, a fixed text; empty when nothing speaks against it.

        Asked after an answer, it knows what the call of that answer found.
        """
        return "" if self._link.watch is None else self._link.watch.doubt

    @property
    def is_doubted(self) -> bool:
        """Whether the store cannot be trusted to remember."""
        return self._link.watch is not None and bool(self._link.watch.doubt)

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store; nothing without a watch."""
        return () if self._link.watch is None else self._link.watch.warnings()

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._link.start()

    async def stop(self) -> None:
        """Close the link; whoever still waits gets `StoreUnavailable`."""
        waiting, self._waiting = self._waiting, []
        _refuse(waiting, Unavailability.STOPPED)
        await self._link.stop()
        self._deadlines.stop()

    def ask(self, question: Question, deadline: float) -> asyncio.Future[Answer]:
        """Return the answer to come; at the deadline the future fails with `StoreUnavailable`.

        Args:
            question: What `pack` and `read` are given.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreUnavailable: The question is not sent.
        """
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        if not self._link.is_connected:
            raise StoreUnavailable(Unavailability.NOT_CONNECTED)
        if self._is_under_way and self._link.is_stalled:
            # It would only wait for its deadline behind a call that has waited too long already.
            raise StoreUnavailable(Unavailability.STALLED)
        if len(self._waiting) >= MAX_WAITING:
            raise StoreUnavailable(Unavailability.FULL)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(question, deadline, answer))
        self._deadlines.watch(answer, deadline, now)
        if not self._is_sending and not self._is_under_way:
            # Not at once: the questions of the other calls of this tick go along.
            self._is_sending = True
            loop.call_soon(self._send_waiting)
        return answer

    def ask_at(self, key: str, question: Question, deadline: float) -> asyncio.Future[Answer]:
        """As `ask`; the key says where in a cluster, and one store is everywhere."""
        return self.ask(question, deadline)

    def _send_waiting(self) -> None:
        self._is_sending = False
        # What its caller has given up before it was sent is never sent.
        now = self._clock.monotonic()
        waiting = [each for each in self._waiting if not each.answer.done() and each.deadline > now]
        first = 0
        while first < len(waiting) and not self._is_under_way:
            self._send(waiting[first : first + MAX_IN_CALL])
            first += MAX_IN_CALL
        self._waiting = waiting[first:]

    def _send(self, asked: Sequence[_Waiting[Question, Answer]]) -> None:
        keys, arguments = self._pack([each.question for each in asked])
        try:
            reply = self._link.submit(self._script, keys, arguments, max(each.deadline for each in asked))
        except StoreUnavailable as error:
            _refuse(asked, error.why)
        else:
            self._is_under_way = True
            reply.add_done_callback(partial(self._receive, asked))

    def _receive(self, asked: Sequence[_Waiting[Question, Answer]], reply: asyncio.Future[list[Any]]) -> None:
        """Send what has gathered meanwhile, then pass on the answers: the store works while we do."""
        self._is_under_way = False
        if self._waiting:
            self._send_waiting()
        self._fan_out(asked, reply)

    def _fan_out(self, asked: Sequence[_Waiting[Question, Answer]], reply: asyncio.Future[list[Any]]) -> None:
        if reply.cancelled():
            _refuse(asked, Unavailability.STOPPED)
            return
        error = reply.exception()
        if error is not None:
            _refuse(asked, error.why if isinstance(error, StoreUnavailable) else Unavailability.PROTOCOL)
            return
        items = reply.result()
        if len(items) != len(asked):
            _refuse(asked, Unavailability.PROTOCOL)
            return
        for each, item in zip(asked, items, strict=True):
            if each.answer.done():
                continue
            answer = self._read(each.question, item)
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)


def _refuse(asked: Sequence[_Waiting[Any, Any]], why: Unavailability) -> None:
    for each in asked:
        if not each.answer.done():
            each.answer.set_exception(StoreUnavailable(why))
