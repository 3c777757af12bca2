"""What processes hold in memory, read from Linux' /proc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def resident_megabytes(pids: Sequence[int]) -> float:
    """Return the memory that `pids` hold together."""
    return sum(_resident_kilobytes(pid) for pid in pids) / 1024


def _resident_kilobytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
