"""What happens to payments while one part is killed or paused, and how soon they flow again afterwards."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from helpers.emptied_stores import accept_emptied
from helpers.life_fleet import ENVOY, STORE, Fleet, signal_tree
from helpers.life_load import late_answers, recovered_after, status_counts, wrongly_allowed

KILL, PAUSE = "kill -9", "paused"
BEFORE_SECONDS, AWAY_SECONDS = 1.0, 4.0
RECOVERY_SECONDS = 40.0
"""Generous: a machine may be busy, and what matters is that recovery needs no hand."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to lose one part.

    Attributes:
        part: `store`, `envoy`, `issuer`, `upstream`, or a service, whose first replica is meant.
        how: `KILL` or `PAUSE`.
    """

    part: str
    how: str


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fault.

    Attributes:
        replicas: Of each service.
        requests: Sent in all, from a moment before the fault until a moment after recovery.
        ok: Answered 200.
        refused_by_policy: Answered as policy says, and not 200.
        other: How often what else came, by status and reason; status 0 is a broken connection.
        wrongly_allowed: Payments that policy refuses and the upstream saw.
        not_told: Payments that the upstream saw although the caller got no 200.
        late: Answers later than Envoy's deadlines.
        uncharged: Payments that the upstream saw beyond those counted by the store; None if it lost its counts.
        start_seconds: From the command that brought the part back until it said that it serves.
        recovered_seconds: From then until everything came out right.
    """

    part: str
    how: str
    replicas: int
    requests: int
    ok: int
    refused_by_policy: int
    other: dict[str, int]
    wrongly_allowed: int
    not_told: int
    late: int
    uncharged: int | None
    start_seconds: float
    recovered_seconds: float


async def suffer(fleet: Fleet, fault: Fault) -> Row:
    """Let one part be away under load, bring it back, and count."""
    charged_before = await fleet.charged()
    load = fleet.load()
    async with load.running():
        await load.goes_on(BEFORE_SECONDS)
        await _break(fleet, fault)
        await load.goes_on(AWAY_SECONDS)
        begun_at = time.monotonic()
        await _mend(fleet, fault)
        back_at = time.monotonic()
        await load.recovers(back_at, RECOVERY_SECONDS)
    await fleet.wait_envoy_sees(fleet.replicas)
    seen, outcomes = load.arrived(), load.outcomes
    assert len(outcomes) == load.sent
    answered = {item.reference for item in outcomes if item.status == 200}
    has_counts = fault != Fault(STORE, KILL)
    return Row(
        part=fault.part,
        how=fault.how,
        replicas=fleet.replicas,
        requests=load.sent,
        ok=len(answered),
        refused_by_policy=sum(item.is_right and item.status != 200 for item in outcomes),
        other=status_counts(item for item in outcomes if not item.is_right),
        wrongly_allowed=len(wrongly_allowed(seen)),
        not_told=len(set(seen) - answered),
        late=len(late_answers(outcomes)),
        uncharged=max(0, len(seen) - (await fleet.charged() - charged_before)) if has_counts else None,
        start_seconds=round(back_at - begun_at, 2),
        recovered_seconds=round(recovered_after(outcomes, back_at), 2),
    )


async def _break(fleet: Fleet, fault: Fault) -> None:
    number = signal.SIGKILL if fault.how == KILL else signal.SIGSTOP
    if fault.part == STORE:
        assert fleet.store.pid is not None
        os.kill(fleet.store.pid, number)
        return
    child = fleet.child(fault.part)
    signal_tree(child, number)
    if fault.how == KILL:
        await child.kill()


async def _mend(fleet: Fleet, fault: Fault) -> None:
    """Bring the part back; returns once it says itself that it serves."""
    if fault.part == STORE:
        if fault.how == KILL:
            await fleet.store.stop()
            await fleet.store.start()
            # It came back empty, and stays without amounts until somebody says that this is known.
            await accept_emptied(fleet.store.url)
        else:
            assert fleet.store.pid is not None
            os.kill(fleet.store.pid, signal.SIGCONT)
        return
    child = fleet.child(fault.part)
    if fault.how == PAUSE:
        signal_tree(child, signal.SIGCONT)
        return
    await child.start()
    if fault.part in fleet.services:
        await fleet.wait_ready(fleet.services[fault.part][0])
    else:
        await fleet.wait_part(fault.part)


def show(rows: Sequence[Row], write: Callable[[str], object]) -> None:
    """Print the rows as a table."""
    table = Table(title=f"one part away for {AWAY_SECONDS:.0f} s under load")
    for name in ("away", "how", "replicas", "requests", "200", "refused by policy", "other answers"):
        table.add_column(name, overflow="fold")
    for name in ("wrongly allowed", "seen, not told", "start s", "then right after s"):
        table.add_column(name)
    for row in rows:
        other = ", ".join(f"{number} x {word}" for word, number in row.other.items()) or "-"
        cells = (row.replicas, row.requests, row.ok, row.refused_by_policy, other, row.wrongly_allowed, row.not_told)
        table.add_row(row.part, row.how, *map(str, cells), f"{row.start_seconds:.1f}", f"{row.recovered_seconds:.1f}")
    console = Console(width=180, color_system=None)
    with console.capture() as text:
        console.print(table)
    write(text.get())


def save(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as a JSON list."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")


def parts_to_lose() -> list[str]:
    """Return every part that a payment needs."""
    return ["extauthz", "ratelimit", STORE, "issuer", "upstream", ENVOY]
