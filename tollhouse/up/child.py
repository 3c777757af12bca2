"""One process that `tollhouse up` runs: started, watched, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tollhouse import tied_exec

_STOP_WITHIN_SECONDS: Final = 15.0
"""Longer than a service's lame duck and drain together."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one process.

    Attributes:
        name: What a person calls it.
        command: Absolute program and arguments; no secrets, ps(1) shows them.
        log: Where stderr goes, and stdout too without `output`.
        output: Where stdout goes.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    output: Path | None = None


class Child:
    """A process in a session of its own, killed by the kernel when this process ends (Linux).

    Start it from the main thread: it is tied to the thread that started it (prctl(2)).

    Args:
        spec: What to run; `start` after `stop` runs it again.
        on_end: Called with this child when it ends and nobody asked it to.
    """

    def __init__(self, spec: ChildSpec, on_end: Callable[[Child], None]) -> None:
        self.spec = spec
        self._on_end = on_end
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the last run; negative for a signal; None while it runs or before it was started."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start the process; its logs are appended to."""
        with self.spec.log.open("ab") as log, (self.spec.output or self.spec.log).open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tied_exec.__file__, str(os.getpid()), *self.spec.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                # A Ctrl-C reaches `tollhouse up` alone, which then stops its parts in order.
                start_new_session=True,
            )
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def stop(self) -> None:
        """Ask the process to end, wait, kill what is left of its group."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End the process group at once, as a crash would."""
        await self._end(signal.SIGKILL)

    def last_lines(self, count: int = 12) -> list[str]:
        """Return the end of the log, for a person."""
        with contextlib.suppress(OSError):
            return self.spec.log.read_text("utf-8", "replace").splitlines()[-count:]
        return []

    async def _watch(self, process: Process) -> None:
        await process.wait()
        self._on_end(self)

    async def _end(self, first: signal.Signals) -> None:
        process, watcher = self._process, self._watcher
        if process is None:
            return
        if watcher is not None:
            watcher.cancel()  # from here on the end is no surprise
            await asyncio.gather(watcher, return_exceptions=True)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(first)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_WITHIN_SECONDS):
                    await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # It leads a group of its own, and whatever it started may have outlived it.
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
