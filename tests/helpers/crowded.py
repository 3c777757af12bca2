"""Busy neighbours on the processor of a service, as on a node that was promised to too many."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def crowded(pids: Sequence[int], neighbours: int) -> Iterator[None]:
    """Keep `pids` on one processor, and share it with processes that never wait.

    Each neighbour has a session of its own: where the kernel shares a processor among sessions (sched(7), autogroup),
    how nice a process is counts for nothing between them.

    Args:
        pids: The service's processes; afterwards they run where they may.
        neighbours: So many processes want as much of the processor as the service.
    """
    everywhere = os.sched_getaffinity(0)
    one = {min(everywhere)}
    for thread in _threads(pids):
        os.sched_setaffinity(thread, one)
    busy = [sys.executable, "-S", "-c", "while True: pass"]
    others: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(neighbours):
            others.append(subprocess.Popen(busy, start_new_session=True))
            os.sched_setaffinity(others[-1].pid, one)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
        for thread in _threads(pids):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, everywhere)


def _threads(pids: Sequence[int]) -> list[int]:
    return [int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
