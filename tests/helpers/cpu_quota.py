"""Gives processes a share of their processor time, in the way a container's CPU limit does: in slices."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

PERIOD_SECONDS = 0.05
"""Shorter than the 0.1 s of Linux' own CPU controller (cgroup v2, cpu.max): like a slow processor, not a halting one."""


@contextlib.contextmanager
def cpu_quota(pids: Sequence[int], share: float) -> Iterator[None]:
    """Let `pids` run for `share` of each period inside the block."""
    is_over = threading.Event()

    def slices() -> None:
        while not is_over.is_set():
            _signal(pids, signal.SIGCONT)
            is_over.wait(PERIOD_SECONDS * share)
            _signal(pids, signal.SIGSTOP)
            is_over.wait(PERIOD_SECONDS * (1 - share))
        _signal(pids, signal.SIGCONT)

    thread = threading.Thread(target=slices, name="cpu-quota")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def resident_megabytes(pids: Sequence[int]) -> float:
    """Return the memory that `pids` hold together."""
    return sum(_resident_kilobytes(pid) for pid in pids) / 1024


def _resident_kilobytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
