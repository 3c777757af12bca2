"""The application that Envoy's Python filter runs: one service, its admin pages, its gRPC methods.

`extauthz/server.py` and `ratelimit/server.py` each hold one as `app`. It starts with the ASGI
lifespan, before Envoy opens the listener, and obeys the supervisor of `envoy_host` over the control
socket. Its law: it never outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable

from chassis.asgi_grpc import GrpcAdapter, Receive, Scope, Send
from chassis.clock import Clock, SystemClock
from chassis.control import ControlSocket, Drain, Refused, Started
from chassis.envoy_secrets import write_secrets
from chassis.host import ServiceHost, start_host
from chassis.listen import HostOptions
from chassis.service import Service, StartRefused
from chassis.settings import Supervision, read_supervision

log = logging.getLogger(__name__)

_ORPHAN_SECONDS = 10.0
"""How long an orphaned process may take to end in order before it is killed."""


class AsgiHost:
    """An ASGI application; building it does nothing, the lifespan starts the service."""

    def __init__(self, make: Callable[[], tuple[Service, HostOptions]], clock: Clock | None = None) -> None:
        self._make = make
        self._clock = clock or SystemClock()
        self._host: ServiceHost | None = None
        self._adapter: GrpcAdapter | None = None
        self._orphan_watch: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one lifespan or one call."""
        if self._adapter is not None and scope["type"] == "http":
            await self._adapter(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise RuntimeError("only http and lifespan scopes are served, http after the lifespan started")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        supervision = read_supervision()
        control = await _open_control(supervision)
        if control is not None and supervision is not None:
            self._orphan_watch = asyncio.create_task(self._obey(control, supervision))
        problems = await self._start(supervision)
        if problems:
            await _refuse(problems, control, send)
            return
        if control is not None and self._host is not None:
            await control.send(Started(self._host.name, self._host.admin_url))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop(control)
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, supervision: Supervision | None) -> tuple[str, ...]:
        """Start the service; return why it was refused, empty when it runs."""
        try:
            host = await start_host(self._make)
        except StartRefused as refused:
            return refused.problems or ("the service refused to start",)
        if host.tls is not None and supervision is not None:
            host.tls.subscribe(functools.partial(write_secrets, supervision.runtime_dir))
        self._host = host
        self._adapter = GrpcAdapter(host.methods, host.options, self._clock, host.load, host.streams)
        return ()

    async def _stop(self, control: ControlSocket | None) -> None:
        if self._orphan_watch is not None:
            self._orphan_watch.cancel()
        if self._host is not None:
            await self._host.stop()
        if control is not None:
            control.close()

    async def _obey(self, control: ControlSocket, supervision: Supervision) -> None:
        """Follow the supervisor; end this process once it is gone."""
        while isinstance(await control.receive(), Drain):
            if self._host is not None:
                self._host.begin_drain()
        shutil.rmtree(supervision.runtime_dir, ignore_errors=True)
        if self._host is None:
            os._exit(1)  # nothing runs yet, and Envoy does not listen to signals while it starts
        log.error("supervisor_gone")
        self._host.begin_drain()
        killer = threading.Timer(_ORPHAN_SECONDS, os.kill, (os.getpid(), signal.SIGKILL))
        killer.daemon = True
        killer.start()
        os.kill(os.getpid(), signal.SIGTERM)


async def _open_control(supervision: Supervision | None) -> ControlSocket | None:
    if supervision is None:
        return None
    end = socket.socket(fileno=supervision.control_fd)
    end.set_inheritable(False)
    return await ControlSocket.open(end)


async def _refuse(problems: tuple[str, ...], control: ControlSocket | None, send: Send) -> None:
    if control is None:
        await send({"type": "lifespan.startup.failed", "message": "\n".join(problems)})
        return
    # Envoy would answer a failed start with its whole configuration on stderr, around the few lines
    # that matter. So the supervisor prints those and kills this process, which meanwhile waits.
    await control.send(Refused(problems))
    await asyncio.Event().wait()
