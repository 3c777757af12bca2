"""Rows of the result: medians over rounds, the table, the JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from bench.cases import COLD, EXTAUTHZ, WARM, floor_of


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of one row.

    Attributes:
        cpu_us: Server CPU time a request, microseconds.
        rps: Requests a second.
        p50_us: Median latency, microseconds.
        p99_us: Latency that 99 % of the calls stayed below, microseconds.
    """

    cpu_us: float
    rps: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one case on one transport at one load.

    Attributes:
        service: `extauthz` or `ratelimit`.
        case: Name of the case.
        transport: `envoy`, `grpcio`, or the name of a peer.
        in_flight: Requests in flight.
        rounds: What was measured.
        void: Why the row does not count; empty when it does.
        counter_bytes: What a counter takes in the row's own crowded store; None without one.
    """

    service: str
    case: str
    transport: str
    in_flight: int
    rounds: tuple[Round, ...]
    void: str = ""
    counter_bytes: float | None = None

    @property
    def is_valid(self) -> bool:
        """Whether the figures may be read."""
        return not self.void and bool(self.rounds)

    def median(self, name: str) -> float:
        """Return the median over the rounds of one figure."""
        return float(median(getattr(each, name) for each in self.rounds))

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest CPU time of the rounds."""
        figures = [each.cpu_us for each in self.rounds]
        return min(figures), max(figures)


def floor_ratio(row: Row, rows: Sequence[Row]) -> float | None:
    """Return CPU time in multiples of the floor of the same bytes, on the same transport at the same load.

    A peer has no floor of its own and is compared with that of the first transport measured.
    """
    name = floor_of(row.case)
    for floor in rows:
        is_same = (floor.service, floor.in_flight) == (row.service, row.in_flight)
        is_its_own = floor.transport == row.transport or not any(
            each.case == name and each.transport == row.transport for each in rows
        )
        if floor.case == name and is_same and is_its_own and floor.is_valid and row.is_valid:
            # CPU time is counted in ticks of 10 ms: a round too short to see one says nothing.
            return row.median("cpu_us") / floor.median("cpu_us") if floor.median("cpu_us") else None
    return None


def as_json(rows: Sequence[Row]) -> str:
    """Return the valid rows as a JSON list; a void row has no figures to give."""
    return json.dumps([_members(row, rows) for row in rows if row.is_valid], indent=2) + "\n"


def _members(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    ratio = floor_ratio(row, rows)
    return {
        "service": row.service,
        "case": row.case,
        "transport": row.transport,
        "in_flight": row.in_flight,
        "cpu_us": round(row.median("cpu_us"), 1),
        "floor_ratio": None if ratio is None else round(ratio, 3),
        "rps": round(row.median("rps"), 1),
        "p50_us": round(row.median("p50_us"), 1),
        "p99_us": round(row.median("p99_us"), 1),
    }


def as_table(rows: Sequence[Row]) -> Table:
    """Return the table that a person reads; void rows say why they are void."""
    table = Table(box=box.SIMPLE, title="CPU of the server process a request; medians over the rounds")
    for name in ("service", "case", "transport"):
        table.add_column(name)
    for name in ("in flight", "CPU us", "from - to", "x floor", "req/s", "p50 us", "p99 us"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row.service, row.case, row.transport, str(row.in_flight), *_cells(row, rows))
    return table


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    if not row.is_valid:
        return ("VOID", row.void or "nothing was measured", "", "", "", "")
    ratio = floor_ratio(row, rows)
    low, high = row.spread
    return (
        f"{row.median('cpu_us'):.0f}",
        f"{low:.0f} - {high:.0f}",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{row.median('rps'):.0f}",
        f"{row.median('p50_us'):.0f}",
        f"{row.median('p99_us'):.0f}",
    )


def comparisons(rows: Sequence[Row]) -> list[str]:
    """Return what the rows say against each other, a line each: transports, cold tokens, sizes."""
    found = {(row.service, row.case, row.transport, row.in_flight): row for row in rows if row.is_valid}
    lines = []
    for (service, case, transport, in_flight), row in found.items():
        for label, other in _counterparts(service, case, transport):
            twin = found.get((service, *other, in_flight))
            if twin is not None:
                ratio = row.median("cpu_us") / max(twin.median("cpu_us"), 0.001)
                lines.append(f"{service} {case} on {transport} at {in_flight}: {ratio:.2f} x {label}")
        if row.counter_bytes is not None:
            lines.append(f"{service} {case} on {transport}: {row.counter_bytes:.0f} bytes of the store a counter")
    return list(dict.fromkeys(lines))


_SIZES = {"merchants_10k": "merchants_10", "merchants_1m": "merchants_1k", "quotas_5": "quotas_1"}


def _counterparts(service: str, case: str, transport: str) -> list[tuple[str, tuple[str, str]]]:
    """Return what a row is compared with: a label, and the other row's case and transport."""
    pairs = []
    if transport == "envoy" and case == WARM:
        pairs.append(("grpcio", (WARM, "grpcio")))
    if service == EXTAUTHZ and case in (COLD, "rules_100"):
        pairs.append((WARM, (WARM, transport)))
    if case in _SIZES:
        pairs.append((_SIZES[case], (_SIZES[case], transport)))
    return pairs
