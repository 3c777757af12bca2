"""A tiny service for the transports' contract tests, run as a process of its own or inside Envoy.

`python -m helpers.echo_service TRANSPORT` serves it with the options of its environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from chassis.asgi_host import AsgiHost
from chassis.envoy_host import serve_envoy
from chassis.grpcio_server import serve_grpcio
from chassis.listen import HostOptions
from chassis.rpc import RpcError, StatusCode
from chassis.service import Readiness, Service, StartRefused
from chassis.settings import read_host_options

PACKAGE = "/echo.v1.Echo/"
REFUSE = "ECHO_REFUSE"
CRASH = "ECHO_CRASH"
UNREADY = "ECHO_UNREADY"
SECRET = "4111111111111111"


class EchoService:
    name = "echo"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.registry = CollectorRegistry()
        self._ended = Counter("echo_ended", "Slow calls by their end", ["how"], registry=self.registry)
        self._echoed = Counter("echo_echoed", "Calls of Echo that reached it", registry=self.registry)
        self._collected = Counter("echo_collected", "Messages of streams", registry=self.registry)
        self._is_started = False
        self.sheds = {PACKAGE + "Sheddable": lambda: b"shed"}
        self.streams = {PACKAGE + "Collect": self._collect, PACKAGE + "CrashCollect": self._crash_collect}
        self.methods = {
            PACKAGE + "Echo": self._echo,
            PACKAGE + "Deadline": self._deadline,
            PACKAGE + "Sleep": self._sleep,
            PACKAGE + "Stubborn": self._stubborn,
            PACKAGE + "Sheddable": self._sleep,
            PACKAGE + "Late": self._late,
            PACKAGE + "Refuse": self._refuse,
            PACKAGE + "Crash": self._crash,
            PACKAGE + "TimeOut": self._time_out,
        }

    async def start(self) -> None:
        if CRASH in self._environment:
            raise ValueError(SECRET)
        if REFUSE in self._environment:
            raise StartRefused(("policies/x.yaml:1:2: P001 first problem", "second problem"))
        self._is_started = True

    async def stop(self) -> None:
        self._is_started = False

    def readiness(self) -> Readiness:
        if UNREADY in self._environment:
            return Readiness(is_ready=False, waiting_for=("keys of the token issuer",))
        return Readiness(is_ready=self._is_started, warnings=("a warning",))

    def policy_status(self) -> dict[str, Any]:
        return {"revision": "0123456789abcdef"}

    async def _echo(self, message: bytes, deadline: float) -> bytes:
        self._echoed.inc()
        return message

    async def _collect(self, messages: AsyncIterator[bytes]) -> bytes:
        found = []
        try:
            async for message in messages:
                if message == b"refuse":
                    raise RpcError(StatusCode.INVALID_ARGUMENT, "not this one")
                found.append(message)
                self._collected.inc()
        finally:
            self._ended.labels("stream").inc()
        return b",".join(found)

    async def _crash_collect(self, messages: AsyncIterator[bytes]) -> bytes:
        async for _ in messages:
            raise ValueError(SECRET)
        return b""

    async def _deadline(self, message: bytes, deadline: float) -> bytes:
        return f"{deadline - time.monotonic():.3f}".encode()

    async def _sleep(self, message: bytes, deadline: float) -> bytes:
        try:
            await asyncio.sleep(float(message))
        except asyncio.CancelledError:
            self._ended.labels("cancelled").inc()
            raise
        self._ended.labels("finished").inc()
        return b"slept"

    async def _stubborn(self, message: bytes, deadline: float) -> bytes:
        await asyncio.Event().wait()
        return b"never"

    async def _late(self, message: bytes, deadline: float) -> bytes:
        while time.monotonic() <= deadline:
            pass  # never gives the event loop a chance to end it in time
        return b"too late"

    async def _refuse(self, message: bytes, deadline: float) -> bytes:
        raise RpcError(StatusCode(int(message)), "a fixed text, 100 % ours\n\u00e4")

    async def _crash(self, message: bytes, deadline: float) -> bytes:
        raise ValueError(SECRET)

    async def _time_out(self, message: bytes, deadline: float) -> bytes:
        raise TimeoutError(SECRET)


def _make() -> tuple[Service, HostOptions]:
    return EchoService(os.environ), read_host_options()


app = AsgiHost(_make)


def main(transport: str) -> int:
    if transport == "envoy":
        served = serve_envoy("helpers.echo_service:app", read_host_options(), os.environ)
    else:
        served = serve_grpcio(lambda: EchoService(os.environ), read_host_options())
    return asyncio.run(served)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
