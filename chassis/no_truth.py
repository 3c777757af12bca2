"""A value that is matched on and never tested, so that nothing missing can read as yes."""

from __future__ import annotations

from typing import NoReturn


class NoTruth:
    """Forbids `if verdict:`; its subclasses are told apart with `match`."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has no truth value; match on its class")
