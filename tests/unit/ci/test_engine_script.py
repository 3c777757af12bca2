"""When .ci/engine starts a Docker engine, when it does not, and what it leaves behind. All programs are fakes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[3] / ".ci" / "engine"

SYSTEM = ["bash", "sh", "timeout", "tail", "grep", "cut", "sort", "xargs", "rm", "mktemp", "sleep", "cat", "true"]

FAKES = {
    # Answers while the daemon that wrote its process id runs, or where a test says that one runs elsewhere.
    "docker": """
        [ "$1" = version ] || exit 1
        [ -e "$FAKES/elsewhere" ] || { [ -e "$FAKES/daemon" ] && kill -0 "$(cat "$FAKES/daemon")"; } || exit 1
        echo 20.10""",
    "dockerd": 'echo "$@" >>"$FAKES/dockerd-calls"; [ ! -e "$FAKES/broken" ] || exit 1; '
    'echo $$ >"$FAKES/daemon"; exec sleep 600',
    "apt-get": 'echo "$@" >>"$FAKES/apt-calls"; [ ! -e "$FAKES/no-mirror" ] || { echo no mirror; exit 100; }',
    "id": 'cat "$FAKES/uid"',
    "docker-compose": "exit 0",
    "debootstrap": "exit 0",
    "redis-server": "exit 0",
    "h2load": "exit 0",
}


@dataclass(frozen=True)
class Machine:
    """A directory of fake programs, and what they were called with."""

    directory: Path

    def environment(self, ci: str) -> dict[str, str]:
        return {
            "PATH": f"{self.directory}:{self.directory / 'system'}",
            "FAKES": str(self.directory),
            "OS_RELEASE": str(self.directory / "os-release"),
            "CI": ci,
        }

    def run(self, *arguments: str, ci: str = "true") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ENGINE, *arguments], env=self.environment(ci), capture_output=True, text=True, timeout=60
        )

    def calls(self, program: str) -> list[str]:
        path = self.directory / f"{program}-calls"
        return path.read_text().splitlines() if path.exists() else []

    def put(self, name: str, text: str = "") -> None:
        (self.directory / name).write_text(text)


@pytest.fixture
def machine(tmp_path):
    for name, body in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    # Nothing but these of the machine's own, so that a test decides what is installed.
    (tmp_path / "system").mkdir()
    for name in SYSTEM:
        (tmp_path / "system" / name).symlink_to(shutil.which(name))
    made = Machine(tmp_path)
    made.put("uid", "0\n")
    made.put("os-release", 'NAME="Debian"\nID=debian\n')
    return made


def test_a_machine_that_is_not_ci_is_given_no_daemon_and_the_command_runs_without(machine):
    for ci in ("", "false", "1"):
        done = machine.run("run", "sh", "-c", "exit 7", ci=ci)
        assert done.returncode == 7
        assert "none is started here: CI is not true" in done.stderr
        assert machine.run("wanted", ci=ci).returncode == 1
    assert machine.calls("dockerd") == machine.calls("apt") == []


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [("uid", "1000\n", "not root"), ("os-release", "ID=ubuntu\nID_LIKE=debian\n", "not Debian")],
)
def test_ci_elsewhere_than_on_debian_as_root_is_given_no_daemon(machine, file, text, reason):
    machine.put(file, text)
    done = machine.run("run", "true")
    assert (done.returncode, reason in done.stderr) == (0, True)
    assert machine.run("wanted").returncode == 1
    assert machine.calls("dockerd") == machine.calls("apt") == []


@pytest.mark.parametrize("ci", ["true", ""])
def test_an_engine_that_runs_is_used(machine, ci):
    machine.put("elsewhere")
    done = machine.run("run", "sh", "-c", "exit 5", ci=ci)
    assert done.returncode == 5
    assert "using the engine that runs here (20.10)" in done.stderr
    assert machine.calls("dockerd") == []


@pytest.mark.parametrize("code", [0, 9])
def test_the_engine_runs_as_long_as_the_command_and_leaves_nothing(machine, code):
    done = machine.run("run", "sh", "-c", f'docker version && echo "$DOCKER_HOST" && exit {code}')
    assert done.returncode == code
    version, host = done.stdout.split()
    home = Path(host.removeprefix("unix://")).parent
    assert version == "20.10"
    assert f"--data-root {home}/data" in machine.calls("dockerd")[0]
    assert not home.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((machine.directory / "daemon").read_text()), 0)


def test_an_engine_that_does_not_start_is_a_failure_and_the_command_does_not_run(machine):
    machine.put("broken")
    done = machine.run("run", "echo", "ran")
    assert done.returncode == 1
    assert "dockerd gave no answer" in done.stderr
    assert done.stdout == ""


def test_packages_that_cannot_be_installed_are_a_failure_that_says_why(machine):
    (machine.directory / "docker-compose").unlink()
    machine.put("no-mirror")
    done = machine.run("run", "echo", "ran")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no mirror\n" in done.stderr
    assert machine.calls("dockerd") == []


def test_a_signal_ends_the_command_and_the_engine(machine):
    command = ("sh", "-c", 'echo "$DOCKER_HOST"; exec sleep 600')
    with subprocess.Popen(
        [ENGINE, "run", *command], env=machine.environment("true"), stdout=subprocess.PIPE, text=True
    ) as running:
        home = Path(running.stdout.readline().strip().removeprefix("unix://")).parent
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 143
    assert not home.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((machine.directory / "daemon").read_text()), 0)


def test_nothing_is_installed_where_nothing_is_missing(machine):
    assert machine.run("run", "true").returncode == 0
    assert machine.calls("apt") == []


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        ("docker-compose", "docker-compose"),
        ("debootstrap", "debootstrap"),
        ("h2load", "nghttp2-client"),
        ("redis-server", "redis-server"),
    ],
)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_only_what_is_missing_is_installed(machine, missing, package, elsewhere):
    (machine.directory / missing).unlink()
    if elsewhere:
        machine.put("elsewhere")
    assert machine.run("run", "true").returncode == 0
    assert machine.calls("apt") == ["-qq update", f"-qq install -y --no-install-recommends {package}"]


def test_an_engine_is_installed_where_none_is(machine):
    (machine.directory / "dockerd").unlink()
    done = machine.run("run", "echo", "ran")
    assert machine.calls("apt")[-1].endswith(" docker.io")
    assert (done.returncode, done.stdout) == (1, "")  # the fake of apt-get installs nothing


@pytest.mark.parametrize("arguments", [(), ("run",), ("start",)])
def test_wrong_arguments_say_how_it_is_used(machine, arguments):
    done = machine.run(*arguments)
    assert (done.returncode, "usage: .ci/engine run" in done.stderr) == (2, True)
