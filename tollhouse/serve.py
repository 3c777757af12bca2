"""`tollhouse serve`: runs one service on the transport that this machine can offer."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import uvloop

import extauthz.server
import ratelimit.server
from chassis.clock import SystemClock
from chassis.envoy_host import NO_LIBPYTHON, has_libpython, serve_envoy
from chassis.grpcio_server import serve_grpcio
from chassis.listen import HostOptions, ListenAddress
from chassis.logs import LEVELS, setup_logging
from chassis.record import STDOUT
from chassis.service import Service
from chassis.tls import TlsOptions
from policy.settings import ServiceSettings
from tollhouse.embedded_store import EmbeddedStore, EmbeddedStoreFailed

EMBEDDED_STORE: Final = "embedded:"
_BUILDERS: Final[dict[str, Callable[[ServiceSettings], Service]]] = {
    "extauthz": extauthz.server.build,
    "ratelimit": ratelimit.server.build,
}


class ServiceName(StrEnum):
    """The two services."""

    EXTAUTHZ = "extauthz"
    RATELIMIT = "ratelimit"


class Transport(StrEnum):
    """How a service speaks gRPC."""

    ENVOY = "envoy"
    GRPCIO = "grpcio"


class UsageError(Exception):
    """The command line asks for something that is refused; the text is for a person."""


@dataclass(frozen=True, slots=True)
class TlsRequest:
    """The TLS options of the command line; empty without TLS.

    Attributes:
        certificate: PEM file of the service's certificate chain.
        private_key: PEM file of its key.
        client_ca: PEM file of the authorities whose callers are believed.
        peer_sans: Names of which a caller's certificate needs one.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    peer_sans: tuple[str, ...] = ()

    def to_options(self) -> TlsOptions | None:
        """Return what the transports read.

        Raises:
            ValueError: Options that need each other were not given together.
        """
        if self.certificate is None or self.private_key is None:
            if self == TlsRequest():
                return None
            raise ValueError("--tls-cert and --tls-key are given together, and --tls-client-ca, --peer-san with them")
        client_ca = None if self.client_ca is None else str(self.client_ca.absolute())
        return TlsOptions(str(self.certificate.absolute()), str(self.private_key.absolute()), client_ca, self.peer_sans)


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What `tollhouse serve` was asked for.

    Attributes:
        service: Which of the two.
        listen: `HOST:PORT` or `unix:PATH`.
        admin: Address of the admin pages, or None.
        transport: None: the fast one wherever it can run.
        is_insecure_listen: The operator accepts a port that others can reach without mutual TLS.
        tls: What the command line says about certificates.
        settings: Everything the service itself reads.
    """

    service: ServiceName
    listen: str
    admin: str | None
    transport: Transport | None
    is_insecure_listen: bool
    tls: TlsRequest
    settings: ServiceSettings


def serve(request: ServeRequest) -> int:
    """Run a service until it is told to stop; return the exit code.

    Raises:
        UsageError: The request is refused before anything was started.
    """
    options = _host_options(request)
    _check_settings(request)
    setup_logging(request.service.value, level=request.settings.log_level)
    try:
        return uvloop.run(_run(request, _choose_transport(request.transport), options))
    except EmbeddedStoreFailed as error:
        raise UsageError(str(error)) from error


def _host_options(request: ServeRequest) -> HostOptions:
    try:
        listen = ListenAddress.parse(request.listen)
        admin = ListenAddress.parse(request.admin) if request.admin else None
        tls = request.tls.to_options()
        is_exposed = not listen.is_local and (tls is None or not tls.is_mutual)
        if is_exposed and not request.is_insecure_listen:
            raise UsageError(
                f"--listen {listen} can be reached from other machines: whoever reaches this port can burn quotas and "
                "forge identities. Have callers prove who they are (--tls-cert, --tls-key, --tls-client-ca, "
                "--peer-san), listen on loopback or a Unix socket, or accept it with --insecure-listen."
            )
        return HostOptions(listen=listen, admin=admin, is_insecure_listen=is_exposed, tls=tls)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_settings(request: ServeRequest) -> None:
    settings = request.settings
    if not Path(settings.policies).is_dir():
        raise UsageError(f"--policies {settings.policies} is not a directory")
    if settings.log_level.upper() not in LEVELS:
        raise UsageError(f"--log-level must be one of {', '.join(LEVELS)}")
    if settings.decision_log != STDOUT and not _is_writable_file(Path(settings.decision_log)):
        raise UsageError(f"--decision-log {settings.decision_log} is not a file that can be written")
    if not re.fullmatch(r"https?://[!-~]+", settings.errors_uri):
        raise UsageError("--errors-uri must be an http or https URL")
    _check_store(request.service, settings.store)


def _is_writable_file(path: Path) -> bool:
    return os.access(path, os.W_OK) and not path.is_dir() if path.exists() else os.access(path.parent, os.W_OK)


def _check_store(service: ServiceName, store: str) -> None:
    if service is ServiceName.EXTAUTHZ:
        if store:
            raise UsageError("--store belongs to ratelimit; extauthz uses no store")
        return
    if store == EMBEDDED_STORE:
        return
    known = ("redis://", "rediss://", "unix://", EMBEDDED_STORE, ratelimit.server.MEMORY_STORE)
    if not store.startswith(known):
        raise UsageError(f"--store must be one of {', '.join(known)}")
    try:
        ratelimit.server.open_store(store, SystemClock())
    except ValueError as error:
        raise UsageError(f"--store: {error}") from error


def _choose_transport(wanted: Transport | None) -> Transport:
    if wanted is Transport.GRPCIO:
        return Transport.GRPCIO
    if has_libpython():
        return Transport.ENVOY
    if wanted is Transport.ENVOY:
        raise UsageError("--transport envoy needs a shared libpython, and none was found; use --transport grpcio")
    print(NO_LIBPYTHON, file=sys.stderr)
    return Transport.GRPCIO


async def _run(request: ServeRequest, transport: Transport, options: HostOptions) -> int:
    if request.settings.store != EMBEDDED_STORE:
        return await _serve(request.service, transport, options, request.settings)
    async with EmbeddedStore() as store:
        stop = asyncio.Event()
        settings = replace(request.settings, store=store.url)
        serving = asyncio.create_task(_serve(request.service, transport, options, settings, stop=stop))
        store_end = asyncio.create_task(store.wait())
        await asyncio.wait((serving, store_end), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            store_end.cancel()
            return serving.result()
        # Started anew it would be empty, and every quota with it: that is for a person to decide.
        print("the embedded store ended by itself; nothing can be counted any more", file=sys.stderr, flush=True)
        stop.set()
        await serving
        return 1
    raise AssertionError("unreachable: the store swallows nothing")


async def _serve(
    service: ServiceName,
    transport: Transport,
    options: HostOptions,
    settings: ServiceSettings,
    *,
    stop: asyncio.Event | None = None,
) -> int:
    if transport is Transport.ENVOY:
        return await serve_envoy(f"{service}.server:app", options, settings.to_environment(), stop=stop)
    return await serve_grpcio(_builder(service, settings), options, stop=stop)


def _builder(service: ServiceName, settings: ServiceSettings) -> Callable[[], Any]:
    return lambda: _BUILDERS[service.value](settings)
