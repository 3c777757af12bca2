"""Decision ids, injected everywhere: only this module draws randomness for them."""

from __future__ import annotations

import secrets
from typing import Final, Protocol

_ID_BYTES: Final = 16
_BLOCK_IDS: Final = 256


class Ids(Protocol):
    """A source of ids."""

    def decision_id(self) -> str:
        """Return a fresh id, 32 lower-case hex digits, not guessable."""


class RandomIds:
    """Ids from the operating system's random source.

    Drawn in blocks: a system call for each would cost a check 7 to 12 us. For one thread alone, and a process that
    forks must make its own.
    """

    def __init__(self) -> None:
        self._waiting: list[str] = []

    def decision_id(self) -> str:
        """Return a fresh id, 32 lower-case hex digits, not guessable."""
        if not self._waiting:
            digits = secrets.token_hex(_ID_BYTES * _BLOCK_IDS)
            size = 2 * _ID_BYTES
            self._waiting = [digits[start : start + size] for start in range(0, len(digits), size)]
        return self._waiting.pop()
