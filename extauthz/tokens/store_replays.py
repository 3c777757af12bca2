"""Marks in Redis or Valkey: set and compared in one step there, so that two replicas cannot both be first.

`GatheredCalls` says when a mark is sent, and that it is sent once.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from chassis.clock import Clock
from chassis.gathered_calls import GatheredCalls
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability

_PREFIX: Final = "tollhouse:dpop:"
_SCRIPT: Final = "mark"
_ANSWERS: Final = {0: False, 1: True, 2: True}
"""Used by another request, first use, the same request again."""


class _Use(NamedTuple):
    """What is asked for one request."""

    mark: str
    request: str
    milliseconds: int


class StoreReplays:
    """A `ReplayStore` over a `StoreLink` that knows the script `mark`."""

    def __init__(self, link: StoreLink, clock: Clock) -> None:
        self._calls: GatheredCalls[_Use, bool] = GatheredCalls(link, _SCRIPT, clock, _pack, _read_answer)

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
        return self._calls.is_available

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._calls.start()

    async def stop(self) -> None:
        """Close the link; whoever still waits gets `StoreUnavailable`."""
        await self._calls.stop()

    async def use(self, mark: str, request: str, lifetime_seconds: float, deadline: float) -> bool:
        """Mark a proof as used; see `ReplayStore.use`."""
        return await self._calls.ask(_Use(mark, request, max(1, int(lifetime_seconds * 1000))), deadline)


def _pack(uses: Sequence[_Use]) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of mark.lua, without the sequence number."""
    return [_PREFIX + use.mark for use in uses], [part for use in uses for part in (use.request, use.milliseconds)]


def _read_answer(_use: _Use, answer: Any) -> bool | Exception:
    if type(answer) is int and answer in _ANSWERS:
        return _ANSWERS[answer]
    return StoreUnavailable(Unavailability.PROTOCOL)
