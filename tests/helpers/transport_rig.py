"""Runs the echo service as a process on either transport, and speaks to it below the level of gRPC."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

from chassis.envoy_host import has_libpython
from chassis.listen import HostOptions, ListenAddress
from chassis.settings import OPTIONS_VARIABLE
from helpers.echo_service import PACKAGE

ROOT = Path(__file__).parents[2]
TRANSPORTS = ("envoy", "grpcio")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
ANY_PORT = ListenAddress.parse("127.0.0.1:0")
OPTIONS = HostOptions(
    listen=ANY_PORT, admin=ANY_PORT, max_message_bytes=64 * 1024, max_timeout_seconds=8.0, lame_duck_seconds=0.2
)


def can_run(transport: str) -> bool:
    return transport != "envoy" or has_libpython()


def until(holds: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """Poll a condition; return its first true value."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.02)
    return value


class EchoProcess:
    """The echo service on one transport, with `with`."""

    def __init__(
        self, transport: str, options: HostOptions = OPTIONS, environment: Mapping[str, str] | None = None
    ) -> None:
        self.transport = transport
        self._options = options
        self._environment = dict(environment or {})
        self._output = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - lives as long as the process

    def __enter__(self) -> EchoProcess:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "helpers.echo_service", self.transport],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
                OPTIONS_VARIABLE: self._options.to_json(),
                **self._environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.exit_code()
        self._output.close()

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def serving(self) -> EchoProcess:
        """Wait until calls are served."""
        until(lambda: " serving on " in self.output() or self.process.poll() is not None, "the start", START_SECONDS)
        assert self.process.poll() is None, self.output()
        return self

    @property
    def address(self) -> str:
        return re.search(r"serving on (\S+) ", self.output())[1]  # type: ignore[index]

    @property
    def admin_url(self) -> str:
        return re.search(r"admin on (\S+)", self.output())[1]  # type: ignore[index]

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.admin_url + path, timeout=5) as answer:  # noqa: S310 - our own URL
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def count(self, sample: str) -> float:
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.page("metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def child(self) -> int:
        """The process id of the Envoy that it supervises."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
        assert len(children) == 1
        return int(children[0])


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def exposed(options: HostOptions = OPTIONS) -> HostOptions:
    return replace(options, listen=ListenAddress.parse("0.0.0.0:0"), is_insecure_listen=True)


def frame(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


@dataclass
class RawAnswer:
    """What one HTTP/2 stream brought back."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_reset: bool = False

    @property
    def status(self) -> int | None:
        text = self.headers.get("grpc-status")
        return None if text is None else int(text)

    @property
    def is_refused(self) -> bool:
        """The call did not succeed, in one of the ways HTTP/2 and gRPC know."""
        return self.is_reset or self.headers.get(":status") != "200" or self.status not in (None, 0)


class RawCall:
    """One HTTP/2 connection with one stream, byte by byte."""

    def __init__(self, address: str, method: str = "Echo", headers: Mapping[str, str] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        wanted = {
            ":method": "POST",
            ":scheme": "http",
            ":path": PACKAGE + method,
            ":authority": address,
            "content-type": "application/grpc",
            "te": "trailers",
            **(headers or {}),
        }
        self._h2.send_headers(1, [(name, value) for name, value in wanted.items() if value])
        self._flush()

    def __enter__(self) -> RawCall:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, body: bytes, *, is_last: bool = True) -> RawCall:
        self._h2.send_data(1, body, end_stream=is_last)
        self._flush()
        return self

    def reset(self) -> None:
        self._h2.reset_stream(1)
        self._flush()

    def answer(self) -> RawAnswer:
        """Wait for the end of the stream; a closed connection counts as a reset."""
        answer = RawAnswer()
        for event in self._events():
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                answer.headers |= dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                answer.is_reset = True
                return answer
            elif isinstance(event, h2.events.StreamEnded):
                return answer
        answer.is_reset = True
        return answer

    def _events(self) -> Iterator[h2.events.Event]:
        while received := self._socket.recv(65536):
            yield from self._h2.receive_data(received)
            self._flush()

    def _flush(self) -> None:
        if pending := self._h2.data_to_send():
            self._socket.sendall(pending)


def readyz(server: EchoProcess) -> tuple[int, dict[str, Any]]:
    status, text = server.page("readyz")
    return status, json.loads(text)
