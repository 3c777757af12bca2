"""Writes decision records as JSON lines, off the request path.

The servicers call `write` in `finally`; it appends to a bounded queue and returns. One thread serialises,
masks and writes. Its law: a slow, full or broken sink costs records, which are counted, never a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson

from chassis.masking import is_suspect, mask_value

log = logging.getLogger("chassis.record")

STDOUT: Final = "-"
GATHER_SECONDS: Final = 0.02  # records that arrive within this time share one write
MAX_BATCH: Final = 512  # records in one write
STOP_SECONDS: Final = 5.0  # longest flush at stop
_BEHIND_SHARE: Final = 10  # of the capacity: several times what waits while a busy service writes one batch
_STALL_SECONDS: Final = 1.0  # longest wait for a non-blocking sink that takes nothing
_FILE_MODE: Final = 0o640  # records name merchants: readable for the group at most


def time_text(wall_seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC with milliseconds, cut off and not rounded."""
    seconds, milliseconds = divmod(int(wall_seconds * 1000), 1000)
    return f"{_second_text(seconds)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=1)
def _second_text(seconds: int) -> str:
    # A busy service writes thousands of records a second, and only the milliseconds of their times differ.
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


class RecordSink(Protocol):
    """Where records go; `DecisionLog` is the real one."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record; never blocks, never raises."""


class DecisionLog:
    """A bounded queue in front of stdout or a file."""

    def __init__(
        self,
        sink: str,
        *,
        capacity: int = 10_000,
        on_lost: Callable[[int], None] | None = None,
        plain_fields: frozenset[str] = frozenset(),
    ) -> None:
        """Wire the log; opens nothing yet.

        Args:
            sink: `-` for stdout, else a file that is appended to, and opened again when its name leads to
                another file (logrotate).
            capacity: Records that may wait; more are lost.
            on_lost: Told how many records were lost, from any thread.
            plain_fields: Members that masking leaves alone, for counters and amounts written as text.
        """
        self._sink = _StdoutSink() if sink == STDOUT else _FileSink(sink)
        self._capacity = capacity
        self._on_lost = on_lost
        self._plain_fields = plain_fields
        self._queue: deque[Mapping[str, Any]] = deque()
        self._has_work = threading.Event()
        self._stopping = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._lost_lock = threading.Lock()
        self._is_failing = False
        self._in_hand = 0  # records of the batch that is being written

    @property
    def lost(self) -> int:
        """Return how many records were lost since start."""
        return self._lost

    @property
    def is_failing(self) -> bool:
        """Tell whether the last write failed."""
        return self._is_failing

    @property
    def is_behind(self) -> bool:
        """Tell whether so many records wait that the sink must have stalled: none is lost yet."""
        return len(self._queue) > self._capacity // _BEHIND_SHARE

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record; never blocks and never raises. The caller does not change it afterwards."""
        if self._is_closed or len(self._queue) >= self._capacity:
            self._lose(1)
            return
        self._queue.append(record)
        if not self._has_work.is_set():
            self._has_work.set()

    async def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._stopping.clear()
            self._is_closed = False
            # A daemon: a sink that blocks for ever must not keep the process alive.
            self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
            self._thread.start()

    async def stop(self, flush_seconds: float = STOP_SECONDS) -> None:
        """Write what waits, for at most `flush_seconds`; the rest is counted as lost. Never raises."""
        self._is_closed = True
        thread, self._thread = self._thread, None
        self._stopping.set()
        self._has_work.set()
        if thread is not None:
            await asyncio.to_thread(thread.join, flush_seconds)
            if thread.is_alive():
                log.warning("the decision log's sink took nothing for %g s at stop", flush_seconds)
        remaining = len(self._queue)
        self._queue.clear()
        if thread is not None and thread.is_alive():
            remaining += self._in_hand
        if remaining:
            self._lose(remaining)

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            # Wait a little, so that a busy service wakes this thread 50 times a second and not 50,000.
            self._stopping.wait(GATHER_SECONDS)
            self._has_work.clear()
            while batch := self._take():
                self._in_hand = len(batch)
                self._write_batch(batch)
                self._in_hand = 0
            if self._stopping.is_set():
                self._sink.close()
                return

    def _take(self) -> list[Mapping[str, Any]]:
        batch: list[Mapping[str, Any]] = []
        while len(batch) < MAX_BATCH:
            try:
                batch.append(self._queue.popleft())
            except IndexError:
                break
        return batch

    def _write_batch(self, batch: list[Mapping[str, Any]]) -> None:
        lines = [line for record in batch if (line := self._serialise(record)) is not None]
        if len(lines) < len(batch):
            self._lose(len(batch) - len(lines))
        if not lines:
            return
        text = b"".join(lines)
        try:
            written, error = self._sink.append(text)
        except Exception as unexpected:  # noqa: BLE001 - the thread outlives any sink
            written, error = 0, unexpected
        self._report(error)
        if error is not None:
            self._lose(text[written:].count(b"\n"))

    def _serialise(self, record: Mapping[str, Any]) -> bytes | None:
        try:
            line = orjson.dumps(record, default=dict, option=orjson.OPT_APPEND_NEWLINE)
            if is_suspect(line):
                masked = mask_value(dict(record), plain_fields=self._plain_fields)
                line = orjson.dumps(masked, option=orjson.OPT_APPEND_NEWLINE)
        except Exception as error:  # noqa: BLE001 - one bad record must not cost the others
            log.error("a decision record could not be serialised: %s", type(error).__name__)
            return None
        return line

    def _report(self, error: Exception | None) -> None:
        """Log the first failure and the recovery, not every batch in between."""
        if error is not None and not self._is_failing:
            log.error("decision log %s: %s, records are being lost", self._sink.name, _describe(error))
        elif error is None and self._is_failing:
            log.warning("decision log %s works again, %d records were lost", self._sink.name, self._lost)
        self._is_failing = error is not None

    def _lose(self, count: int) -> None:
        with self._lost_lock:
            self._lost += count
        if self._on_lost is not None:
            try:
                self._on_lost(count)
            except Exception:
                log.exception("the hook for lost records failed")


def _describe(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


class _Sink:
    """A file descriptor that whole lines are appended to."""

    name: str
    _descriptor: int | None = None
    _is_torn = False

    def open(self) -> int:
        """Return the descriptor to write to; raises OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the descriptor."""

    def append(self, text: bytes) -> tuple[int, Exception | None]:
        """Write `text`; return how many of its bytes went out, and what stopped the rest."""
        lead = b"\n" if self._is_torn else b""  # a torn line must not swallow the next one
        pending = lead + text
        sent = 0
        try:
            descriptor = self.open()
            while sent < len(pending):
                sent += _write_some(descriptor, pending[sent:])
        except OSError as error:
            self.close()
            if sent:
                self._is_torn = not pending[:sent].endswith(b"\n")
            return max(sent - len(lead), 0), error
        self._is_torn = False
        return len(text), None


class _StdoutSink(_Sink):
    name = "stdout"

    def open(self) -> int:
        return 1


class _FileSink(_Sink):
    def __init__(self, path: str) -> None:
        self.name = path

    def open(self) -> int:
        if self._descriptor is not None and not self._is_same_file(self._descriptor):
            self.close()
            self._is_torn = False  # the torn line stayed in the other file
        if self._descriptor is None:
            flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
            self._descriptor = os.open(self.name, flags, _FILE_MODE)
        return self._descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_same_file(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self.name), os.fstat(descriptor))
        except OSError:
            return False


def _write_some(descriptor: int, text: bytes) -> int:
    """Write part of `text`, waiting a bounded time for a non-blocking descriptor."""
    try:
        return os.write(descriptor, text)
    except BlockingIOError:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(_STALL_SECONDS * 1000):
            raise
        return os.write(descriptor, text)
