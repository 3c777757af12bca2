"""Become another program, one that ends when the process that asked for it ends.

Run as a script, `python -I -S tied_exec.py PARENT_PID PROGRAM ARGUMENT...`: nothing is left
behind even if the parent is killed. Only Linux can do it; elsewhere the program just runs.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent ends; it survives execve(2)."""


def main(parent_pid: int, command: list[str]) -> None:
    """Replace this process by `command`, tied to the life of `parent_pid`; does not return."""
    if sys.platform == "linux":
        import ctypes  # only here, so that other systems do not need it

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            # The parent ended before the signal was asked for.
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the caller's own argument list, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
