"""The measured processes: started, found ready, asked for CPU time and counters, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tollhouse import tied_exec
from tollhouse.probe import LOOPBACK, get_text, wait_until

_READY_WITHIN_SECONDS: Final = 120.0
_STOP_WITHIN_SECONDS: Final = 20.0
_ROOT: Final = Path(__file__).parents[1]
_SERVING = re.compile(r"serving on \S+:(\d+) \(transport \w+\), admin on http://\S+:(\d+)")
_LAST_LINES: Final = 8


class BenchFailed(Exception):  # noqa: N818 - the word a person reads
    """Something that is to be measured does not run; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where load goes and whose CPU time counts.

    Attributes:
        port: Of the gRPC listener.
        pid: Process whose CPU time counts.
        host: Of the gRPC listener.
        admin_port: Of the admin pages on loopback; None for a peer, whose counters we cannot read.
        decision_log: Cut back between rounds so that no disk fills; None for a peer.
    """

    port: int
    pid: int
    host: str = LOOPBACK
    admin_port: int | None = None
    decision_log: Path | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"{self.host}:{self.port}"


class ServerProcess:
    """One child process, ended by the kernel when this process ends (Linux).

    Args:
        command: Program and arguments.
        directory: Private to this server; its log and decision log go there.
        transport: `envoy` measures the embedded Envoy, `grpcio` the child itself.
    """

    def __init__(self, command: tuple[str, ...], directory: Path, transport: str) -> None:
        self._command = command
        self._log = directory / "server.log"
        self._decision_log = directory / "decisions.jsonl"
        self._transport = transport
        self._process: Process | None = None

    async def start(self) -> Target:
        """Start and wait until it is ready.

        Raises:
            BenchFailed: It ended or was not ready in time.
        """
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tied_exec.__file__, str(os.getpid()), *self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                # A Ctrl-C reaches the benchmark alone, which then ends its servers by their ids.
                start_new_session=True,
            )
        process = self._process
        await wait_until(lambda: process.returncode is not None or self._is_ready(), _READY_WITHIN_SECONDS)
        ports = self._ports()
        if process.returncode is not None or ports is None:
            raise BenchFailed(f"{' '.join(self._command[:6])} is not ready:\n  {self._last_lines()}")
        pid = process.pid if self._transport == "grpcio" else child_of(process.pid)
        return Target(ports[0], pid, admin_port=ports[1], decision_log=self._decision_log)

    async def stop(self) -> None:
        """End the process in order, or by force when it does not follow."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_WITHIN_SECONDS)
                return

    def _is_ready(self) -> bool:
        ports = self._ports()
        return ports is not None and get_text(ports[1], "/readyz") is not None

    def _ports(self) -> tuple[int, int] | None:
        found = _SERVING.search(self._log.read_text("utf-8", "replace"))
        return (int(found[1]), int(found[2])) if found else None

    def _last_lines(self) -> str:
        return "\n  ".join(self._log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])


def child_of(pid: int) -> int:
    """Return the one child process of `pid`.

    Raises:
        BenchFailed: There is none, or there are several.
    """
    children = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent_of(int(entry)) == pid]
    if len(children) != 1:
        raise BenchFailed(f"process {pid} has {len(children)} children, not one")
    return children[0]


def _parent_of(pid: int) -> int:
    try:
        return int(_stat_fields(pid)[1])
    except OSError:
        return 0


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second may hold anything (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process.

    Raises:
        BenchFailed: There is no such process.
    """
    try:
        user, system = _stat_fields(pid)[11:13]
    except OSError:
        raise BenchFailed(f"process {pid} is gone") from None
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Counters:
    """What a service counted.

    Attributes:
        verdicts: Decisions by verdict.
        records_lost: Decision records that were not written.
    """

    verdicts: Mapping[str, int]
    records_lost: int = 0


def parse_counters(text: str) -> Counters:
    """Read the counters off a /metrics page."""
    verdicts: dict[str, int] = {}
    lost = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "tollhouse_decisions_total":
                verdict = sample.labels["verdict"]
                verdicts[verdict] = verdicts.get(verdict, 0) + int(sample.value)
            elif sample.name == "tollhouse_records_lost_total":
                lost = int(sample.value)
    return Counters(verdicts, lost)


def read_counters(target: Target) -> Counters | None:
    """Return a target's counters, None for a peer.

    Raises:
        BenchFailed: The page does not answer.
    """
    if target.admin_port is None:
        return None
    text = get_text(target.admin_port, "/metrics")
    if text is None:
        raise BenchFailed(f"the metrics page on port {target.admin_port} does not answer")
    return parse_counters(text)


def find_mistake(before: Counters, after: Counters, *, sent: int, verdict: str) -> str:
    """Compare what a service counted with what it was sent; an empty text means that they agree."""
    counted = {name: after.verdicts[name] - before.verdicts.get(name, 0) for name in after.verdicts}
    counted = {name: count for name, count in counted.items() if count}
    if counted != {verdict: sent}:
        seen = ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "nothing"
        return f"{sent} sent, counted: {seen}"
    lost = after.records_lost - before.records_lost
    return f"{lost} decision records lost" if lost else ""
