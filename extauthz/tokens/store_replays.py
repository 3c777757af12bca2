"""Marks in Redis or Valkey: set and compared in one step there, so that two replicas cannot both be first.

The marks that wait go out together, in one call: a call costs several times what one more mark in it does. A use that
finds no call under way is sent in the same tick. Each keeps its own deadline, and none is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Final

from chassis.clock import Clock
from chassis.deadlines import Deadlines
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability, give_up

MAX_BATCH: Final = 128
MAX_WAITING: Final = 8192
_PREFIX: Final = "tollhouse:dpop:"
_SCRIPT: Final = "mark"
_ANSWERS: Final = {0: False, 1: True, 2: True}
"""Used by another request, first use, the same request again."""


class _Use:
    """One waiting caller."""

    __slots__ = ("answer", "deadline", "mark", "milliseconds", "request")

    def __init__(self, mark: str, request: str, milliseconds: int, deadline: float) -> None:
        self.mark = mark
        self.request = request
        self.milliseconds = milliseconds
        self.deadline = deadline
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class StoreReplays:
    """A `ReplayStore` over a `StoreLink` that knows the script `mark`."""

    def __init__(self, link: StoreLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._waiting: list[_Use] = []
        self._is_sending = False
        self._is_under_way = False
        self._deadlines = Deadlines(clock, give_up)

    @classmethod
    def from_url(cls, url: str, clock: Clock, settings: StoreSettings = StoreSettings()) -> StoreReplays:  # noqa: B008
        """Return marks in the store at `url`; see `StoreLink` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        text = files("extauthz").joinpath("lua", "mark.lua").read_text("utf-8")
        return cls(StoreLink(url, {_SCRIPT: text}, clock=clock, settings=settings), clock)

    @property
    def is_available(self) -> bool:
        """Whether a mark set now would be sent."""
        return self._link.is_connected

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._link.start()

    async def stop(self) -> None:
        """Close the link; whoever still waits gets `StoreUnavailable`."""
        waiting, self._waiting = self._waiting, []
        _refuse(waiting, Unavailability.STOPPED)
        await self._link.stop()
        self._deadlines.stop()

    async def use(self, mark: str, request: str, lifetime_seconds: float, deadline: float) -> bool:
        """Mark a proof as used; see `ReplayStore.use`."""
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        if not self._link.is_connected:
            raise StoreUnavailable(Unavailability.NOT_CONNECTED)
        if len(self._waiting) >= MAX_WAITING:
            raise StoreUnavailable(Unavailability.FULL)
        use = _Use(mark, request, max(1, int(lifetime_seconds * 1000)), deadline)
        self._waiting.append(use)
        self._deadlines.watch(use.answer, deadline, now)
        if not self._is_sending and not self._is_under_way:
            # Not at once: the uses of the other calls of this tick go along.
            self._is_sending = True
            asyncio.get_running_loop().call_soon(self._send)
        return await use.answer

    def _send(self) -> None:
        self._is_sending = False
        now = self._clock.monotonic()
        waiting = [use for use in self._waiting if not use.answer.done() and use.deadline > now]
        uses, self._waiting = waiting[:MAX_BATCH], waiting[MAX_BATCH:]
        if not uses:
            return
        arguments = [argument for use in uses for argument in (use.request, use.milliseconds)]
        try:
            reply = self._link.submit(
                _SCRIPT, [_PREFIX + use.mark for use in uses], arguments, max(use.deadline for use in uses)
            )
        except StoreUnavailable as error:
            _refuse((*uses, *self._waiting), error.why)
            self._waiting = []
        else:
            self._is_under_way = True
            reply.add_done_callback(partial(self._receive, uses))

    def _receive(self, uses: Sequence[_Use], reply: asyncio.Future[list[Any]]) -> None:
        """Send what has gathered meanwhile, then pass on the answers."""
        self._is_under_way = False
        if self._waiting:
            self._send()
        _fan_out(uses, reply)


def _fan_out(uses: Sequence[_Use], reply: asyncio.Future[list[Any]]) -> None:
    if reply.cancelled():
        _refuse(uses, Unavailability.STOPPED)
        return
    error = reply.exception()
    if error is not None:
        _refuse(uses, error.why if isinstance(error, StoreUnavailable) else Unavailability.PROTOCOL)
        return
    answers = reply.result()
    if len(answers) != len(uses):
        _refuse(uses, Unavailability.PROTOCOL)
        return
    for use, answer in zip(uses, answers, strict=True):
        if use.answer.done():
            continue
        if type(answer) is int and answer in _ANSWERS:
            use.answer.set_result(_ANSWERS[answer])
        else:
            use.answer.set_exception(StoreUnavailable(Unavailability.PROTOCOL))


def _refuse(uses: Sequence[_Use], why: Unavailability) -> None:
    for use in uses:
        if not use.answer.done():
            use.answer.set_exception(StoreUnavailable(why))
