"""The list of revocations in Redis or Valkey: one for all replicas, written and read by one script call each.

Its law: what cannot be read to the letter is no answer, so a list that somebody else wrote into stops the feed and does
not thin it out.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import orjson

from chassis.clock import Clock
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from extauthz.tokens.revocations import (
    KINDS,
    MAX_AT_ONCE,
    MAX_ENTRIES,
    REMEMBERED_SECONDS,
    Page,
    Place,
    Revocation,
)

# One hash tag: scripts see keys of one slot.
_PREFIX: Final = "tollhouse:{revoked}:"
_KEYS: Final = tuple(_PREFIX + name for name in ("list", "entries", "positions", "ends"))
_WRITE: Final = "revoke"
_READ: Final = "revoked"
_CLOCKS_DIFFER_SECONDS: Final = 3_600
_PAGE: Final = 500
_HEAD: Final = 5
"""Items of an answer of revoked.lua before the first member."""


class StoreRevocations:
    """A `RevocationStore` over a link of its own.

    Args:
        link: Knows the scripts `revoke` and `revoked`; started and stopped here.
        max_entries: More are refused, by whoever writes them.
    """

    def __init__(self, link: StoreLink, max_entries: int = MAX_ENTRIES) -> None:
        self._link = link
        self._max_entries = max_entries

    @classmethod
    def from_url(
        cls,
        url: str,
        clock: Clock,
        settings: StoreSettings = StoreSettings(),  # noqa: B008 - frozen
        max_entries: int = MAX_ENTRIES,
    ) -> StoreRevocations:
        """Return the list in the store at `url`; see `StoreLink` for what it may be.

        Raises:
            ValueError: The URL is not understood; its text is not repeated.
        """
        folder = files("extauthz").joinpath("lua")
        scripts = {name: folder.joinpath(f"{name}.lua").read_text("utf-8") for name in (_WRITE, _READ)}
        return cls(StoreLink(url, scripts, clock=clock, settings=settings), max_entries)

    async def start(self) -> None:
        """Begin to connect; never fails because the store is away."""
        await self._link.start()

    async def stop(self) -> None:
        """Close the link; whoever still waits gets `StoreUnavailable`."""
        await self._link.stop()

    async def revoke(self, entries: Sequence[Revocation], deadline: float) -> None:
        """Write entries; see `RevocationWriter.revoke`."""
        await self._write(entries, "", 0, deadline)

    async def accept(self, entries: Sequence[Revocation], issuer: str, jti: str, deadline: float) -> bool:
        """Write what an event says, once; see `RevocationWriter.accept`."""
        name = orjson.dumps([issuer, jti])
        return await self._write(entries, hashlib.sha256(name).hexdigest(), REMEMBERED_SECONDS * 1000, deadline)

    async def read(self, place: Place, deadline: float) -> Page:
        """Return what was written behind a place; see `RevocationStore.read`."""
        arguments = (secrets.token_hex(16), place.list_id, place.position, _PAGE)
        return _page(await self._link.call(_READ, _KEYS, arguments, deadline))

    async def _write(self, entries: Sequence[Revocation], event: str, mark_for_ms: int, deadline: float) -> bool:
        if len(entries) > MAX_AT_ONCE:
            raise StoreUnavailable(Unavailability.NO_ROOM)
        head: tuple[str | int, ...] = (secrets.token_hex(16), self._max_entries, mark_for_ms, _CLOCKS_DIFFER_SECONDS)
        arguments = (*head, *(part for entry in entries for part in _parts(entry)))
        answer = await self._link.call(_WRITE, (*_KEYS, f"{_PREFIX}event:{event}"), arguments, deadline)
        if answer == [-1]:
            raise StoreUnavailable(Unavailability.NO_ROOM)
        if answer not in ([0], [1]):
            raise StoreUnavailable(Unavailability.PROTOCOL)
        return answer == [1]


def _parts(entry: Revocation) -> tuple[str, str, str]:
    member = orjson.dumps([entry.kind, entry.issuer, entry.value]).decode()
    return member, repr(float(entry.not_before)), repr(float(entry.expires_at))


def _page(answer: Sequence[Any]) -> Page:
    try:
        list_id, age, from_start, position, is_last = answer[:_HEAD]
        rest = answer[_HEAD:]
        entries = tuple(_entry(member, times) for member, times in zip(rest[::2], rest[1::2], strict=True))
        place = Place(list_id.decode("ascii"), int(position))
        return Page(place, entries, is_last == 1, from_start == 1, float(age))
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreUnavailable(Unavailability.PROTOCOL) from error


def _entry(member: bytes, times: bytes) -> Revocation:
    kind, issuer, value = orjson.loads(member)
    not_before, expires_at = (float(text) for text in times.split(b" "))
    is_text = isinstance(issuer, str) and isinstance(value, str)
    if kind not in KINDS or not is_text or not math.isfinite(not_before) or not math.isfinite(expires_at):
        raise ValueError("not an entry of ours")
    return Revocation(kind, issuer, value, not_before, expires_at)
