"""Decision ids, injected everywhere: only this module draws randomness for them."""

from __future__ import annotations

import secrets
from typing import Protocol


class Ids(Protocol):
    """A source of ids."""

    def decision_id(self) -> str:
        """Return a fresh id, 32 lower-case hex digits, not guessable."""


class RandomIds:
    """Ids from the operating system's random source."""

    def decision_id(self) -> str:
        """Return a fresh id, 32 lower-case hex digits, not guessable."""
        return secrets.token_hex(16)
