"""What scripts/compose says on a machine where no engine answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "compose"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory of programs: a client whose engine does not answer."""
    for name in ("bash", "dirname", "sed", "env"):
        (tmp_path / name).symlink_to(Path("/usr/bin") / name)
    client = tmp_path / "docker"
    client.write_text('#!/bin/bash\n[ "$*" = "compose version" ] || { echo "a page of traceback" >&2; exit 1; }\n')
    client.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", ["up", "token", "down", "logs"])
def test_command_that_needs_an_engine_says_so_in_one_line(command: str, machine: Path) -> None:
    run = subprocess.run(
        [SCRIPT, command], env={"PATH": str(machine)}, capture_output=True, text=True, check=False, timeout=30
    )
    assert (run.returncode, run.stdout, run.stderr) == (1, "", "compose: no Docker engine answers\n")


def test_help_needs_no_engine(machine: Path) -> None:
    run = subprocess.run([SCRIPT], env={"PATH": str(machine)}, capture_output=True, text=True, check=True, timeout=30)
    assert "scripts/compose down" in run.stdout
