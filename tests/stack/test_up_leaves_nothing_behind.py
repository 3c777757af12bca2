import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tollhouse.probe import wait_until
from tollhouse.up.ports import choose_ports

MARK = "TOLLHOUSE_TEST_MARK"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only Linux ends children by itself")


@dataclass
class Run:
    process: asyncio.subprocess.Process
    mark: str
    port: int
    directory: Path

    def left(self) -> list[int]:
        """Return every process of this run that still lives, by the mark it inherited."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    async def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        seen = ""
        async with asyncio.timeout(60):
            while text not in seen:
                line = await self.process.stdout.readline()
                assert line, f"ended without {text!r}:\n{seen}"
                seen += line.decode()
        return seen

    async def end(self) -> tuple[int, str]:
        async with asyncio.timeout(40):
            output, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, output.decode()

    def pid_of(self, words: str) -> int:
        for pid in self.left():
            if words in Path(f"/proc/{pid}/cmdline").read_text("utf-8").replace("\0", " "):
                return pid
        raise AssertionError(f"no process runs {words}")


async def start(policies: Path, directory: Path, port: int) -> Run:
    mark = uuid.uuid4().hex
    command = (sys.executable, "-m", "tollhouse", "up", "--port", str(port), "--policies", str(policies))
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return Run(process, mark, port, directory)


@pytest_asyncio.fixture
async def run(policies: Path, tmp_path: Path) -> AsyncIterator[Run]:
    running = await start(policies, tmp_path, choose_ports(None).envoy)
    try:
        yield running
    finally:
        if running.process.returncode is None:
            running.process.kill()
        for pid in running.left():
            os.kill(pid, signal.SIGKILL)
        await running.process.communicate()


@linux_only
async def test_sigterm_stops_everything(run: Run) -> None:
    shown = await run.read_until("Ctrl-C")
    run.process.send_signal(signal.SIGTERM)
    code, _ = await run.end()

    assert f"http://127.0.0.1:{run.port}/v1/payments" in shown
    assert code == 0
    assert run.left() == []


@linux_only
async def test_interrupt_while_starting_stops_everything(run: Run) -> None:
    await run.read_until("starting issuer")
    run.process.send_signal(signal.SIGINT)
    code, _ = await run.end()

    assert code == 0
    assert run.left() == []


@linux_only
async def test_killed_parent_leaves_nothing_behind(run: Run) -> None:
    await run.read_until("Ctrl-C")
    run.process.kill()
    await run.end()

    assert await wait_until(lambda: not run.left(), 15), run.left()


@linux_only
async def test_part_that_ends_is_named_and_everything_stops(run: Run) -> None:
    await run.read_until("Ctrl-C")
    os.kill(run.pid_of("tollhouse.upstream"), signal.SIGKILL)
    code, output = await run.end()

    assert code == 1
    assert "upstream ended with exit code -9" in output
    assert run.left() == []


async def test_port_in_use_is_said_before_anything_starts(policies: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running = await start(policies, tmp_path, taken.getsockname()[1])
        code, output = await running.end()

    assert code == 1
    assert "is in use" in output
    assert os.listdir(tmp_path) == []


async def test_missing_policy_set_is_said(tmp_path: Path) -> None:
    running = await start(tmp_path / "absent", tmp_path, choose_ports(None).envoy)
    code, output = await running.end()

    assert code == 2  # as with every command: nothing was started
    assert "--policies" in output
