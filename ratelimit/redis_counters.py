"""Counters in Redis or Valkey: all hits that wait in one tick of the event loop go out in one call.

Each hit keeps its own deadline, is judged on its own and in order, and is sent at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from chassis.clock import Clock
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability, give_up
from ratelimit.counters import MAX_COUNT, Charge, CounterFault, HitResult, Reading, check_charges

MAX_BATCH_HITS = 128
_SCRIPT = "hit"
_CHARGED, _OVER, _POISONED = 1, 0, 2


class _Hit:
    """One waiting caller: what it asks, until when, and where its answer goes."""

    __slots__ = ("answer", "charges", "deadline")

    def __init__(self, charges: Sequence[Charge], deadline: float, answer: asyncio.Future[HitResult]) -> None:
        self.charges = charges
        self.deadline = deadline
        self.answer = answer


class RedisCounters:
    """A `CounterStore` over a `StoreLink` that knows the script `hit`."""

    def __init__(self, link: StoreLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._waiting: list[_Hit] = []

    @classmethod
    def from_url(cls, url: str, clock: Clock, settings: StoreSettings = StoreSettings()) -> RedisCounters:  # noqa: B008
        """Return counters in the store at `url`; see `StoreLink` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        return cls(StoreLink(url, hit_scripts(), clock=clock, settings=settings), clock)

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._link.start()

    async def stop(self) -> None:
        """Close the link; hits still waiting get `StoreUnavailable`."""
        await self._link.stop()

    @property
    def is_available(self) -> bool:
        """Whether a hit sent now has a store to go to."""
        return self._link.is_connected

    async def hit(self, charges: Sequence[Charge], deadline: float) -> HitResult:
        """Check all charges, then add all or none; see `CounterStore.hit`."""
        check_charges(charges)
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise StoreUnavailable(Unavailability.DEADLINE)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HitResult] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send_waiting)
        self._waiting.append(_Hit(charges, deadline, answer))
        timer = loop.call_later(left, give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    def _send_waiting(self) -> None:
        # A caller that has given up before its hit was sent is never charged.
        now = self._clock.monotonic()
        hits = [hit for hit in self._waiting if not hit.answer.done() and hit.deadline > now]
        self._waiting = []
        for first in range(0, len(hits), MAX_BATCH_HITS):
            self._send(hits[first : first + MAX_BATCH_HITS])

    def _send(self, hits: Sequence[_Hit]) -> None:
        keys, arguments = pack_hits([hit.charges for hit in hits])
        try:
            reply = self._link.submit(_SCRIPT, keys, arguments, max(hit.deadline for hit in hits))
        except StoreUnavailable as error:
            _refuse(hits, error.why)
        else:
            reply.add_done_callback(partial(_fan_out, hits))


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


def _fan_out(hits: Sequence[_Hit], reply: asyncio.Future[list[Any]]) -> None:
    if reply.cancelled():
        _refuse(hits, Unavailability.STOPPED)
        return
    error = reply.exception()
    if error is not None:
        _refuse(hits, error.why if isinstance(error, StoreUnavailable) else Unavailability.PROTOCOL)
        return
    answers = reply.result()
    if len(answers) != len(hits):
        _refuse(hits, Unavailability.PROTOCOL)
        return
    for hit, answer in zip(hits, answers, strict=True):
        if not hit.answer.done():
            _answer(hit, answer)


def _answer(hit: _Hit, answer: Any) -> None:
    if answer == [_POISONED]:
        hit.answer.set_exception(CounterFault("a key holds no counter"))
    elif _is_verdict(answer, len(hit.charges)):
        hit.answer.set_result(HitResult(answer[0] == _CHARGED, tuple(_readings(answer))))
    else:
        hit.answer.set_exception(StoreUnavailable(Unavailability.PROTOCOL))


def _is_verdict(answer: Any, charges: int) -> bool:
    if type(answer) is not list or len(answer) != 1 + 2 * charges or answer[0] not in (_CHARGED, _OVER):
        return False
    return all(type(number) is int and 0 <= number <= MAX_COUNT for number in answer)


def _readings(answer: Sequence[int]) -> Iterator[Reading]:
    for used, over in zip(answer[1::2], answer[2::2], strict=True):
        yield Reading(used, over == 1)


def _refuse(hits: Sequence[_Hit], why: Unavailability) -> None:
    for hit in hits:
        if not hit.answer.done():
            hit.answer.set_exception(StoreUnavailable(why))
