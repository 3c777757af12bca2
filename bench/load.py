"""Load from h2load: several processes on one server, a fixed number of requests each."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from asyncio.subprocess import Process
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NO_H2LOAD: Final = (
    "scripts/bench needs h2load and did not find it. Install it: Debian and Ubuntu `apt-get install nghttp2-client`, "
    "Fedora `dnf install nghttp2`, macOS `brew install nghttp2`."
)
_SUMMARY = re.compile(
    r"^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
    re.MULTILINE,
)
_HTTP_OK: Final = "200"


class LoadFailed(Exception):  # noqa: N818 - the word a person reads
    """h2load did not do what it was asked for; the text says what."""


@dataclass(frozen=True, slots=True)
class Call:
    """One requested answer.

    Attributes:
        started_us: Since 1970.
        took_us: Until the end of the response.
    """

    started_us: int
    took_us: int


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to send.

    Attributes:
        url: Of the gRPC method.
        bodies: One file a process, a framed message each.
        streams: Requests in flight a process.
        requests_each: Requests a process.
        timeout_seconds: After it every process is ended and the load has failed.
    """

    url: str
    bodies: Sequence[Path]
    streams: int
    requests_each: int
    timeout_seconds: float

    @property
    def requests(self) -> int:
        """Requests in all."""
        return self.requests_each * len(self.bodies)


def find_h2load() -> str | None:
    """Return the program, None when it is not installed."""
    return shutil.which("h2load")


async def send(plan: LoadPlan, program: str, directory: Path) -> list[Call]:
    """Send everything and wait for it.

    Raises:
        LoadFailed: A process ended in error, took too long, or a request had no answer with status 200.
    """
    logs = [directory / f"h2load-{index}.log" for index in range(len(plan.bodies))]
    processes: list[Process] = []
    try:
        async with asyncio.timeout(plan.timeout_seconds):
            for body, log in zip(plan.bodies, logs, strict=True):
                log.unlink(missing_ok=True)  # h2load appends
                processes.append(await _spawn(plan, program, body, log))
            outputs = await asyncio.gather(*(process.communicate() for process in processes))
    except TimeoutError:
        raise LoadFailed(f"h2load was not done after {plan.timeout_seconds:.0f} s") from None
    finally:
        await _end(processes)
    calls: list[Call] = []
    for (output, _), log in zip(outputs, logs, strict=True):
        check_summary(output.decode("utf-8", "replace"), plan.requests_each)
        calls += parse_log(log.read_text("ascii").splitlines())
        log.unlink()
    if len(calls) != plan.requests:
        raise LoadFailed(f"{len(calls)} of {plan.requests} requests are in h2load's log")
    return calls


async def _spawn(plan: LoadPlan, program: str, body: Path, log: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        program,
        *("--threads=1", "--clients=1", f"--max-concurrent-streams={plan.streams}"),
        *(f"--requests={plan.requests_each}", f"--data={body}", f"--log-file={log}"),
        *("--header=content-type: application/grpc", "--header=te: trailers"),
        plan.url,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def _end(processes: Iterable[Process]) -> None:
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def check_summary(output: str, requests: int) -> None:
    """Check the line in which h2load sums up.

    Raises:
        LoadFailed: Not every request succeeded.
    """
    found = _SUMMARY.search(output)
    if found is None:
        last = output.strip().splitlines()[-1:] or ["nothing"]
        raise LoadFailed(f"h2load said: {last[0]}")
    total, _, done, succeeded, failed, errored, timed_out = (int(number) for number in found.groups())
    if (total, done, succeeded) != (requests, requests, requests):
        raise LoadFailed(
            f"{succeeded} of {requests} requests succeeded: {failed} failed, {errored} errored, {timed_out} timed out"
        )


def parse_log(lines: Iterable[str]) -> list[Call]:
    """Read an h2load log: start in microseconds since 1970, HTTP status, microseconds until the end.

    Raises:
        LoadFailed: A line is none, or a status is not 200.
    """
    calls = []
    for line in lines:
        columns = line.split("\t")
        if len(columns) < 3 or not (columns[0].isdigit() and columns[2].isdigit()):
            raise LoadFailed(f"no line of an h2load log: {line!r}")
        if columns[1] != _HTTP_OK:
            raise LoadFailed(f"a request was answered with status {columns[1]}")
        calls.append(Call(int(columns[0]), int(columns[2])))
    return calls


def requests_per_second(calls: Sequence[Call]) -> float:
    """Return the rate from the first start to the last end; at least one call."""
    first = min(call.started_us for call in calls)
    last = max(call.started_us + call.took_us for call in calls)
    return len(calls) * 1e6 / max(last - first, 1)


def percentile_us(calls: Sequence[Call], share: float) -> float:
    """Return the time within which `share` (0 to 1) of the calls were answered; at least one call."""
    ordered = sorted(call.took_us for call in calls)
    return float(ordered[min(int(len(ordered) * share), len(ordered) - 1)])
