"""What is said about one diagnostic code; every kind of code is made of these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeSpec:
    """One diagnostic code.

    Attributes:
        title: What is wrong, in a few words.
        avoid: An example that leads to it.
        prefer: What to write instead.
        why: What would go wrong otherwise.
    """

    title: str
    avoid: str
    prefer: str
    why: str
