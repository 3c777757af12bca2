"""Counters that were found over their limit, so that the next hits need no store (envoyproxy/ratelimit's local cache).

Its law: by default an entry holds the count, not the verdict, so a limit that a reload has raised is asked about
anew; and it is believed for a moment only, for another replica may have given hits back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ratelimit.descriptors.tally import Hit

HOLD_SECONDS: Final = 1.0


class _Entry(NamedTuple):
    found: int
    until: float


class HeldOver:
    """A bounded memory of counters that are over; the oldest entry makes room.

    Args:
        max_keys: Most entries; 0 remembers nothing.
        is_compat: Whatever is asked about an entry is over until its window ends, looks and raised limits included.
    """

    def __init__(self, max_keys: int, *, is_compat: bool) -> None:
        self._max_keys = max_keys
        self._is_compat = is_compat
        self._entries: dict[str, _Entry] = {}

    @property
    def is_used(self) -> bool:
        """Whether there is anything to look up."""
        return bool(self._entries)

    def add(self, hit: Hit, found: int, now: float) -> None:
        """Remember a hit that did not fit; `now` is monotonic."""
        if not self._max_keys:
            return
        self._entries.pop(hit.key, None)
        if len(self._entries) >= self._max_keys:
            del self._entries[next(iter(self._entries))]
        # A counter of the next window has another name, so its life is bound enough.
        until = now + (hit.life_seconds if self._is_compat else HOLD_SECONDS)
        self._entries[hit.key] = _Entry(found, until)

    def holds(self, hit: Hit, now: float) -> bool:
        """Tell whether the hit is known to be over; one that gives back forgets what is known."""
        entry = self._entries.get(hit.key)
        if entry is None:
            return False
        if hit.is_given_back or entry.until <= now:
            del self._entries[hit.key]
            return False
        if self._is_compat:
            return True
        return entry.found >= hit.limit if hit.cost == 0 else entry.found + hit.cost > hit.limit
