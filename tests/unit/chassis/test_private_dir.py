import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.private_dir import PrivateDirectory

PREFIX = "tollhouse-test-"
HOLDER = """
import sys
from chassis.private_dir import PrivateDirectory
held = PrivateDirectory.make(sys.argv[1], sys.argv[2])
print(held.path, flush=True)
sys.stdin.read()
"""


def hold(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has such a directory."""
    command = (sys.executable, "-c", HOLDER, PREFIX, str(parent))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    process.communicate(timeout=10)


def test_directory_of_a_killed_process_goes_with_the_next_one_made(tmp_path: Path):
    process, left = hold(tmp_path)
    (left / "secret").write_text("x")
    end(process, signal.SIGKILL)
    assert left.is_dir()

    made = PrivateDirectory.make(PREFIX, str(tmp_path))

    assert list(tmp_path.iterdir()) == [made.path]
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_directory_of_a_living_process_stays(tmp_path: Path):
    process, held = hold(tmp_path)
    made = PrivateDirectory.make(PREFIX, str(tmp_path))
    again = PrivateDirectory.make(PREFIX, str(tmp_path))

    assert {held, made.path, again.path} == set(tmp_path.iterdir())
    assert made.path.stat().st_mode & 0o777 == 0o700
    for one in (made, again):
        one.remove()
    end(process, signal.SIGKILL)


def test_directory_that_is_just_being_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lock = fcntl.flock

    def lock_after_another_start(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        PrivateDirectory.make(PREFIX, str(tmp_path)).remove()
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_another_start)
    made = PrivateDirectory.make(PREFIX, str(tmp_path))

    assert list(tmp_path.iterdir()) == [made.path]
    made.remove()


def test_what_only_looks_like_one_stays(tmp_path: Path):
    (tmp_path / f"{PREFIX}file").write_text("x")
    (tmp_path / f"{PREFIX}bare").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner.lock").write_text("")
    os.symlink(elsewhere, tmp_path / f"{PREFIX}link")
    before = set(tmp_path.iterdir())

    made = PrivateDirectory.make(PREFIX, str(tmp_path))
    made.remove()

    assert set(tmp_path.iterdir()) == before
    assert (elsewhere / "owner.lock").exists()
