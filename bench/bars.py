"""The bars: how much CPU time one row may cost in multiples of another row of the same run.

Only ratios inside one run are held against a bar; a missed bar is said and does not change the exit code, because
a busy machine can miss any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.cases import COLD, DESCRIPTORS, DPOP, EXTAUTHZ, FLOOR, FLOOR_DESCRIPTORS, LEASED, RATELIMIT, WARM
from bench.report import Row

_ENVOY: Final = "envoy"
_GRPCIO: Final = "grpcio"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        service: Of both rows.
        case: Of the row that is held against the bar; it runs on transport `envoy`.
        than: Case and transport of the row it is compared with.
        in_flight: Of both rows.
        most: Largest ratio that meets the bar.
    """

    service: str
    case: str
    than: tuple[str, str]
    in_flight: int
    most: float

    def verdict(self, rows: Sequence[Row]) -> str | None:
        """Return `met` or `MISSED` with the figures; None unless both rows were measured."""
        found = {(row.case, row.transport): row for row in rows if self._is_candidate(row)}
        row, other = found.get((self.case, _ENVOY)), found.get(self.than)
        if row is None or other is None:
            return None
        ratio = row.median("cpu_us") / max(other.median("cpu_us"), 0.001)
        word = "met   " if ratio <= self.most else "MISSED"
        than = self.than[0] if self.than[1] == _ENVOY else f"{self.than[0]} on {self.than[1]}"
        name = f"{self.service} {self.case} at {self.in_flight}"
        return f"{word} {name}: {ratio:.2f} x {than}, at most {self.most:.1f} wanted"

    def _is_candidate(self, row: Row) -> bool:
        return (row.service, row.in_flight) == (self.service, self.in_flight) and row.is_valid


BARS: Final = (
    Bar(EXTAUTHZ, WARM, (FLOOR, _ENVOY), 64, 3.2),
    Bar(EXTAUTHZ, WARM, (WARM, _GRPCIO), 64, 0.5),
    Bar(EXTAUTHZ, COLD, (WARM, _ENVOY), 64, 2.0),
    Bar(EXTAUTHZ, DPOP, (WARM, _ENVOY), 64, 2.5),
    Bar(EXTAUTHZ, "rules_100", (WARM, _ENVOY), 64, 1.4),
    Bar(EXTAUTHZ, "merchants_10k", ("merchants_10", _ENVOY), 64, 1.2),
    Bar(RATELIMIT, WARM, (FLOOR, _ENVOY), 64, 2.2),
    Bar(RATELIMIT, WARM, (FLOOR, _ENVOY), 1, 2.6),
    Bar(RATELIMIT, DESCRIPTORS, (FLOOR_DESCRIPTORS, _ENVOY), 64, 2.0),
    Bar(RATELIMIT, DESCRIPTORS, (FLOOR_DESCRIPTORS, _ENVOY), 1, 2.6),
    Bar(RATELIMIT, "merchants_10k", ("merchants_10", _ENVOY), 64, 1.2),
    Bar(RATELIMIT, LEASED, (FLOOR, _ENVOY), 64, 1.6),
    Bar(RATELIMIT, "quotas_5", ("quotas_1", _ENVOY), 64, 1.5),
    Bar(RATELIMIT, "merchants_1m", ("merchants_1k", _ENVOY), 64, 1.2),
)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return a line for each bar whose rows were measured."""
    return [line for bar in BARS if (line := bar.verdict(rows)) is not None]
