"""Counters in Redis or Valkey: the hits that wait go out together, in one call.

Each hit keeps its own deadline, is judged on its own and in order, and is sent at most once. While
`MAX_CALLS_UNDER_WAY` calls have no reply yet, hits gather for the next one, so that calls grow with the load: a call
costs five times what one more hit in it does. A hit that finds nothing under way is sent in the same tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from chassis.clock import Clock
from chassis.deadlines import Deadlines
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability, give_up
from ratelimit.counters import MAX_COUNT, Charge, CounterFault, HitResult, Reading, check_charges

MAX_BATCH_HITS = 128
MAX_CALLS_UNDER_WAY = 1
MAX_WAITING_HITS = 8192
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
        self._is_sending = False
        self._calls_under_way = 0
        self._deadlines = Deadlines(clock, give_up)

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
        waiting, self._waiting = self._waiting, []
        _refuse(waiting, Unavailability.STOPPED)
        await self._link.stop()
        self._deadlines.stop()

    @property
    def is_available(self) -> bool:
        """Whether a hit sent now has a store to go to."""
        return self._link.is_connected

    async def hit(self, charges: Sequence[Charge], deadline: float) -> HitResult:
        """Check all charges, then add all or none; see `CounterStore.hit`."""
        check_charges(charges)
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        if len(self._waiting) >= MAX_WAITING_HITS:
            raise StoreUnavailable(Unavailability.FULL)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HitResult] = loop.create_future()
        self._waiting.append(_Hit(charges, deadline, answer))
        self._deadlines.watch(answer, deadline, now)
        if not self._is_sending and self._calls_under_way < MAX_CALLS_UNDER_WAY:
            # Not at once: the hits of the other calls of this tick go along.
            self._is_sending = True
            loop.call_soon(self._send_waiting)
        return await answer

    def _send_waiting(self) -> None:
        self._is_sending = False
        # A caller that has given up before its hit was sent is never charged.
        now = self._clock.monotonic()
        hits = [hit for hit in self._waiting if not hit.answer.done() and hit.deadline > now]
        first = 0
        while first < len(hits) and self._calls_under_way < MAX_CALLS_UNDER_WAY:
            self._send(hits[first : first + MAX_BATCH_HITS])
            first += MAX_BATCH_HITS
        self._waiting = hits[first:]

    def _send(self, hits: Sequence[_Hit]) -> None:
        keys, arguments = pack_hits([hit.charges for hit in hits])
        try:
            reply = self._link.submit(_SCRIPT, keys, arguments, max(hit.deadline for hit in hits))
        except StoreUnavailable as error:
            _refuse(hits, error.why)
        else:
            self._calls_under_way += 1
            reply.add_done_callback(partial(self._receive, hits))

    def _receive(self, hits: Sequence[_Hit], reply: asyncio.Future[list[Any]]) -> None:
        """Send what has gathered meanwhile, then pass on the answers: the store works while we do."""
        self._calls_under_way -= 1
        if self._waiting:
            self._send_waiting()
        _fan_out(hits, reply)


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
        return
    result = _result(answer, len(hit.charges))
    if result is None:
        hit.answer.set_exception(StoreUnavailable(Unavailability.PROTOCOL))
    else:
        hit.answer.set_result(result)


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


def _refuse(hits: Sequence[_Hit], why: Unavailability) -> None:
    for hit in hits:
        if not hit.answer.done():
            hit.answer.set_exception(StoreUnavailable(why))
