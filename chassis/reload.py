"""Holds one frozen snapshot of a directory's meaning and swaps it when the directory changes.

Its law: readers see the old snapshot or the new one, never a mixture, and a directory that cannot be
loaded leaves the last good one serving. Services call `load_initial` before they take calls and `start`
after it; the request path only reads `current`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from watchfiles import Change, awatch

from chassis.clock import Clock

T = TypeVar("T")

log = logging.getLogger("chassis.reload")

MAX_REPORTED_PROBLEMS: Final = 20
WATCH_STEP_MS: Final = 200
ABSENT_SECONDS: Final = 1.0  # how often a directory that is away is looked for
STOP_SECONDS: Final = 5.0  # longest wait for a load in flight at stop

_UNREADABLE: Final = "unreadable:"


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What a load produced.

    Attributes:
        value: The compiled snapshot; nobody changes it after this.
        revision: Content hash it was compiled from.
    """

    value: T
    revision: str


class LoadFailed(Exception):  # noqa: N818 - reads as what happened
    """The directory could not be loaded.

    Attributes:
        problems: One line each, for a person.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """Return one problem a line."""
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class ReloadTiming:
    """How patiently a change is taken up.

    Attributes:
        settle_seconds: Nothing may have changed for this long before a load.
        settle_limit_seconds: A directory that changes for longer is reported and left until the next poll.
        poll_seconds: The directory is looked at this often even when the watcher reports nothing.
    """

    settle_seconds: float = 0.5
    settle_limit_seconds: float = 30.0
    poll_seconds: float = 10.0


class Reloader(Generic[T]):
    """Snapshot holder with file watching.

    Copes with a directory that is replaced (also as a symlink), with the `..data` symlink swap of a
    Kubernetes ConfigMap, with half-written files, and with a directory that is away for a while.
    """

    def __init__(  # noqa: PLR0913 - three by position, the rest by keyword
        self,
        root: Path,
        load: Callable[[], Loaded[T]],
        fingerprint: Callable[[], str],
        *,
        clock: Clock,
        on_swap: Callable[[T | None, T], None] | None = None,
        on_failure: Callable[[tuple[str, ...]], None] | None = None,
        settle_seconds: float = 0.5,
        timing: ReloadTiming | None = None,
    ) -> None:
        """Wire the holder; reads nothing yet.

        Args:
            root: The directory, watched with everything below it.
            load: Reads and compiles it; runs in a thread. Raises `LoadFailed` for problems of the
                directory; anything else counts as a failed load too.
            fingerprint: A cheap hash of the contents; runs in a thread. Whatever it raises counts as one
                more state the directory can be in.
            clock: Wall time for `status`.
            on_swap: Called with the old (None at first) and the new snapshot after the swap.
            on_failure: Called with the problems of each failed reload; not for `load_initial`, which raises.
            settle_seconds: Shorthand for `timing`.
            timing: All the times; wins over `settle_seconds`.
        """
        self._root = root
        self._load = load
        self._fingerprint = fingerprint
        self._clock = clock
        self._on_swap = on_swap
        self._on_failure = on_failure
        self._timing = timing or ReloadTiming(settle_seconds=settle_seconds)
        self._loaded: Loaded[T] | None = None
        self._seen: str | None = None  # fingerprint of the last attempt, good or bad
        self._since: float | None = None
        self._last_error: str | None = None
        self._last_error_at: float | None = None
        self._reloads = 0
        self._failed_reloads = 0
        self._is_watching = False
        self._watched: tuple[int, int] | None = None  # device and inode of the directory under watch
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._rewatch = asyncio.Event()

    @property
    def current(self) -> T:
        """Return the active snapshot.

        Raises:
            RuntimeError: Nothing was ever loaded.
        """
        if self._loaded is None:
            raise RuntimeError("nothing is loaded; call load_initial first")
        return self._loaded.value

    @property
    def is_loaded(self) -> bool:
        """Tell whether there is a snapshot."""
        return self._loaded is not None

    @property
    def revision(self) -> str:
        """Return the active revision, empty before the first load."""
        return "" if self._loaded is None else self._loaded.revision

    def status(self) -> dict[str, Any]:
        """Describe the active revision and the last failure; times are RFC 3339 in UTC."""
        return {
            "revision": self.revision,
            "since": _rfc3339(self._since),
            "last_error": self._last_error,
            "last_error_at": _rfc3339(self._last_error_at),
            "reloads": self._reloads,
            "failed_reloads": self._failed_reloads,
            "watching": "events" if self._is_watching else "polling",
        }

    def load_initial(self) -> None:
        """Load once, at start.

        Raises:
            LoadFailed: Whatever went wrong, in words.
        """
        before = self._read_fingerprint()
        loaded = self._attempt()
        if isinstance(loaded, LoadFailed):
            raise loaded
        # Files that changed meanwhile are picked up by the first look of the follower.
        self._seen = before
        self._swap(loaded)

    async def start(self) -> None:
        """Begin to watch; needs a running loop."""
        if self._tasks:
            return
        self._stop, self._wake, self._rewatch = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._wake.set()
        self._tasks = (
            asyncio.create_task(self._watch(), name="policy-watch"),
            asyncio.create_task(self._follow(), name="policy-follow"),
        )

    async def stop(self) -> None:
        """End watching; waits a bounded time for a load in flight and never raises."""
        self._stop.set()
        self._rewatch.set()
        self._wake.set()
        tasks, self._tasks = self._tasks, ()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The watcher: it only ever sets `_wake`, so a missed or a superfluous event costs one look.

    async def _watch(self) -> None:
        while not self._stop.is_set():
            self._rewatch.clear()
            try:
                await self._watch_once()
            except Exception as error:  # noqa: BLE001 - watching is a convenience, polling goes on without it
                if self._is_watching:
                    log.warning("watching %s failed (%s), polling instead", self._root, type(error).__name__)
            self._is_watching = False
            if not self._rewatch.is_set():
                await _wait(self._stop, self._timing.poll_seconds if self._watched else ABSENT_SECONDS)

    async def _watch_once(self) -> None:
        self._watched = await asyncio.to_thread(_identity, self._root)
        if self._watched is None:
            return
        # No filter: the default one leaves out names that a policy file may have.
        self._is_watching = True
        # The watcher's thread wakes once a step, idle or not: quicker would only cost the request path.
        changes = awatch(
            self._root, watch_filter=None, debounce=2 * WATCH_STEP_MS, step=WATCH_STEP_MS, stop_event=self._rewatch
        )
        # What happened while nothing was watched: looked at now, or the poll would be the first to see it.
        self._wake.set()
        async for events in changes:
            self._wake.set()
            if (Change.deleted, str(self._root)) in events:
                # A directory made in its place may get the same inode number, so `_look` may see no other.
                self._rewatch.set()

    async def _follow(self) -> None:
        while not self._stop.is_set():
            await _wait(self._wake, self._timing.poll_seconds)
            self._wake.clear()
            if self._stop.is_set():
                return
            await self._look()

    async def _look(self) -> None:
        """Take one look at the directory, and reload if it is not as last seen."""
        if self._is_watching and await asyncio.to_thread(_identity, self._root) != self._watched:
            self._rewatch.set()  # replaced: events of the old directory say nothing about the new one
        if await asyncio.to_thread(self._read_fingerprint) == self._seen:
            return
        deadline = self._clock.monotonic() + self._timing.settle_limit_seconds
        while not self._stop.is_set():
            settled = await self._settled(deadline)
            if settled is None:
                break
            if settled == self._seen:
                return
            loaded = await asyncio.to_thread(self._attempt)
            # A result counts only if nothing changed while it was made, be it good or bad.
            if await asyncio.to_thread(self._read_fingerprint) == settled:
                self._seen = settled
                self._take(loaded)
                return
        if not self._stop.is_set():
            limit = self._timing.settle_limit_seconds
            self._seen = None  # else a directory that goes back to what is served would stay reported for ever
            self._fail(LoadFailed((f"{self._root} kept changing for {limit:g} s, so it was not loaded",)))

    async def _settled(self, deadline: float) -> str | None:
        """Return the fingerprint once it holds still; None when that takes too long or we stop."""
        before = await asyncio.to_thread(self._read_fingerprint)
        while self._clock.monotonic() < deadline:
            await _wait(self._stop, self._timing.settle_seconds)
            if self._stop.is_set():
                return None
            after = await asyncio.to_thread(self._read_fingerprint)
            if after == before:
                return after
            before = after
        return None

    def _read_fingerprint(self) -> str:
        try:
            return self._fingerprint()
        except Exception as error:  # noqa: BLE001 - any failure is one more state of the directory
            return f"{_UNREADABLE}{type(error).__name__}"

    def _attempt(self) -> Loaded[T] | LoadFailed:
        try:
            return self._load()
        except LoadFailed as failed:
            return failed
        except OSError as error:
            return LoadFailed((f"{error.filename or self._root}: {error.strerror or type(error).__name__}",))
        except Exception as error:
            log.exception("loading %s failed unexpectedly", self._root)
            return LoadFailed((f"{self._root}: internal fault while loading: {type(error).__name__}",))

    def _take(self, loaded: Loaded[T] | LoadFailed) -> None:
        if isinstance(loaded, LoadFailed):
            self._fail(loaded)
            return
        self._reloads += 1
        self._swap(loaded)
        log.info("serving policy revision %s", loaded.revision)

    def _swap(self, loaded: Loaded[T]) -> None:
        old, self._loaded = self._loaded, loaded  # the one assignment every reader sees
        if old is None or old.revision != loaded.revision:
            self._since = self._clock.wall()
        self._last_error = self._last_error_at = None
        if self._on_swap is not None:
            _call_hook(self._on_swap, None if old is None else old.value, loaded.value)

    def _fail(self, failed: LoadFailed) -> None:
        self._failed_reloads += 1
        self._last_error_at = self._clock.wall()
        shown = failed.problems[:MAX_REPORTED_PROBLEMS]
        if len(failed.problems) > len(shown):
            shown += (f"and {len(failed.problems) - len(shown)} more",)
        self._last_error = "\n".join(shown)
        log.error("reload failed, still serving revision %s: %s", self.revision or "(none)", self._last_error)
        if self._on_failure is not None:
            _call_hook(self._on_failure, failed.problems)


def _call_hook(hook: Callable[..., None], *arguments: Any) -> None:
    """Call a hook whose failure must not undo the swap or end the watching."""
    try:
        hook(*arguments)
    except Exception:
        log.exception("a reload hook failed")


def _identity(root: Path) -> tuple[int, int] | None:
    """Return what tells one directory from its replacement; None while there is none."""
    try:
        found = root.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _rfc3339(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
