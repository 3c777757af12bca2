"""A text stream whose reader may stall without stalling us.

Logging writes through it to stderr, and so does whoever supervises a service: whoever reads a service's
stderr through a pipe and stops reading must neither stop the service nor keep it from ending. While the
reader keeps up, a written line is out before `write` returns, so that the last words of a process are not lost.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

CAPACITY: Final = 1000
"""Writes that may wait; further ones are lost and counted."""

PATIENCE_SECONDS: Final = 0.1
"""How long one write waits for the reader. The next ones do not, until the reader has caught up."""

_LAST_WORDS_SECONDS: Final = 1.0


class PatientStream:
    """Writes to another stream in a thread of its own.

    Args:
        target: Where the text goes.
        tell_lost: Returns the line that says how many writes were lost.
    """

    def __init__(self, target: TextIO, tell_lost: Callable[[int], str]) -> None:
        self._target = target
        self._tell_lost = tell_lost
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._is_writing = False
        self._is_stalled = False
        self._lost = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take text; waits at most `PATIENCE_SECONDS`, and never raises because of the target."""
        with self._changed:
            if len(self._waiting) >= CAPACITY:
                self._lost += 1
                return len(text)
            self._waiting.append(text)
            self._changed.notify_all()
            if self._thread is None:
                # A daemon: a reader that never reads must not keep the process alive.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            if not self._is_stalled:
                self._is_stalled = not self._changed.wait_for(self._is_idle, PATIENCE_SECONDS)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` has waited as long as it may."""

    def settle(self, seconds: float) -> None:
        """Wait until everything is out, at the end of a process; at most `seconds`."""
        with self._changed:
            self._changed.wait_for(self._is_idle, seconds)

    def _is_idle(self) -> bool:
        return not self._waiting and not self._is_writing

    def _run(self) -> None:
        while True:
            self._write_out(self._next())

    def _next(self) -> str:
        with self._changed:
            self._is_writing = False
            if not self._waiting:
                self._is_stalled = False
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting)
            self._is_writing = True
            text = "".join(self._waiting)
            self._waiting.clear()
            lost, self._lost = self._lost, 0
        return text + (self._tell_lost(lost) if lost else "")

    def _write_out(self, text: str) -> None:
        # Closed or broken: logging has nowhere else to say so.
        with contextlib.suppress(OSError, ValueError):
            _write_all(self._target, text)


def say(line: str) -> None:
    """Write one line to stderr for a person; goes on after about a second when nobody reads."""
    stream = PatientStream(sys.stderr, lambda lost: "")
    stream.write(line + "\n")
    stream.settle(_LAST_WORDS_SECONDS)


def _write_all(target: TextIO, text: str) -> None:
    try:
        descriptor = target.fileno()
    except (OSError, AttributeError):
        target.write(text)  # no file behind it: the stand-in of a test, or a caller's own
        target.flush()
        return
    # Past the stream's buffer: a thread that is stuck in it holds its lock, and the interpreter waits for that lock
    # when it ends, so that a stalled reader would keep the process.
    rest = memoryview(text.encode("utf-8", "backslashreplace"))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
