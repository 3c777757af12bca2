"""Whoever reads a service's stderr and stops reading must not keep the service from ending."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.certificates import ServerFiles, authority, server_pair
from helpers.services import SHIPPED
from helpers.transport_rig import TRANSPORTS, can_run, until

pytestmark = pytest.mark.slow

END_SECONDS = 30.0
HURRIED_SECONDS = 13.0
"""Less than what a service that hangs is granted after a single signal."""


@contextmanager
def unread(transport: str, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A served limiter whose stderr takes nothing any more, and its address."""
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "tollhouse",
        "serve",
        "ratelimit",
        "--store",
        "memory:",
        "--policies",
        str(SHIPPED),
    ]
    times = ["--lame-duck-seconds", "0.1", "--drain-seconds", "1"]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--single-replica", "--transport", transport, *times, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writing,
    )
    try:
        with open(reading, "rb") as lines:
            address = next(found[1] for line in lines if (found := re.search(rb" serving on (\S+)", line)))
            fill(writing)
            yield process, address.decode()
    finally:
        os.close(writing)
        process.kill()
        process.wait()


def fill(pipe: int) -> None:
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    for size in (4096, 1):
        try:
            while True:
                os.write(pipe, b"x" * size)
        except BlockingIOError:
            pass
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags)


def child_of(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(until(lambda: children.read_text().split(), "a child")[0])


@pytest.mark.parametrize("transport", [t for t in TRANSPORTS if can_run(t)])
def test_signal_ends_a_service_whose_stderr_is_not_read(transport: str):
    with unread(transport) as (process, _):
        process.terminate()
        assert process.wait(END_SECONDS) == 0


@pytest.mark.skipif(not can_run("envoy"), reason="the envoy transport needs a shared libpython")
def test_end_of_envoy_is_not_kept_secret_by_a_stderr_that_is_not_read():
    with unread("envoy") as (process, _):
        os.kill(child_of(process), signal.SIGKILL)
        assert process.wait(END_SECONDS) == 1


@pytest.mark.skipif(not can_run("envoy"), reason="the envoy transport needs a shared libpython")
def test_second_signal_ends_a_service_that_hangs():
    with unread("envoy") as (process, _):
        os.kill(child_of(process), signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(HURRIED_SECONDS) == 0


@pytest.mark.parametrize("transport", [t for t in TRANSPORTS if can_run(t)])
def test_callers_that_are_no_good_at_tls_write_nothing(transport: str, tmp_path: Path):
    files, signer = ServerFiles(tmp_path), authority()
    files.put(server_pair(signer), signer.certificate)
    tls = ["--tls-cert", str(tmp_path / "tls.pem"), "--tls-key", str(tmp_path / "tls.key")]
    with unread(transport, *tls) as (process, address):
        host, port = address.rsplit(":", 1)
        for _ in range(20):
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        process.terminate()
        assert process.wait(END_SECONDS) == 0
