"""Private directories of a process, and the removal of those whose process was killed.

Each holds a file that its process keeps locked (flock(2)); the kernel lets go of the lock when the process
ends, however it ends. So whoever makes the next directory can tell a left one from one in use, and no
process id is trusted that may belong to somebody else by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

_LOCK_NAME: Final = "owner.lock"
_DRAFT_NAME: Final = "owner.lock.new"


class PrivateDirectory:
    """A directory of mode 0700 that lives as long as this process wants it.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def make(cls, prefix: str, parent: str | None = None) -> PrivateDirectory:
        """Make one, after removing those with the same prefix that killed processes left.

        Args:
            prefix: Begins its name.
            parent: Where it is made; None for the system's directory for temporary files.

        Raises:
            OSError: It cannot be made.
        """
        _sweep(Path(parent or tempfile.gettempdir()), prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Not inheritable: a child that outlives us must not keep the directory.
        lock = os.open(path / _DRAFT_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Named once it is held: a process that sweeps at this moment would take an unheld one for left.
        os.rename(path / _DRAFT_NAME, path / _LOCK_NAME)
        return cls(path, lock)

    def remove(self) -> None:
        """Remove it with all it holds; never raises."""
        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if _is_left(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_left(path: Path) -> bool:
    """Tell whether a directory is ours and its process has ended; raises OSError where that cannot be known."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    # One without a lock file is being made this moment, or is not of this kind.
    lock = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True
