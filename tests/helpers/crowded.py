"""A busy neighbour on the processor of a service, as on a node that was promised to too many."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def crowded(pids: Sequence[int], niceness: int) -> Iterator[None]:
    """Keep `pids` on one processor, which a process that never waits shares and is preferred on.

    Args:
        pids: The service's processes; afterwards they run where they may, and stay as nice as they were made.
        niceness: 5 leaves them about a quarter of the processor, 10 a tenth (sched(7)).
    """
    everywhere = os.sched_getaffinity(0)
    one = {min(everywhere)}
    for thread in _threads(pids):
        os.sched_setaffinity(thread, one)
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    neighbour = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    os.sched_setaffinity(neighbour.pid, one)
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()
        for thread in _threads(pids):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, everywhere)


def _threads(pids: Sequence[int]) -> list[int]:
    return [int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
