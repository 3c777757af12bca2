"""`tollhouse serve`: runs one service on the transport that this machine can offer."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import uvloop

import extauthz.server
import ratelimit.server
from chassis.access_log import STREAM_METHOD
from chassis.clock import SystemClock
from chassis.envoy_host import NO_LIBPYTHON, has_libpython, serve_envoy
from chassis.listen import HostOptions, ListenAddress
from chassis.logs import LEVELS, setup_logging
from chassis.patient_stream import say
from chassis.record import STDOUT
from chassis.secret_file import SecretInvalid, read_one_line
from chassis.service import Service
from chassis.settings import quiet_grpc
from chassis.store_nodes import CLUSTER_SCHEMES, is_cluster
from chassis.store_places import SENTINEL_SCHEMES
from chassis.store_url import has_password
from chassis.tls import TlsOptions
from extauthz.tokens.key_snapshots import SnapshotRefused, check_directory
from policy.card_keys import read_card_keys_file
from policy.descriptors.reader import COMPAT_ENVOYPROXY
from policy.settings import MEMORY_STORE, ServiceSettings
from tollhouse.descriptor_checks import check_descriptor_settings
from tollhouse.embedded_store import EmbeddedStore, EmbeddedStoreFailed
from tollhouse.event_checks import check_event_settings

EMBEDDED_STORE: Final = "embedded:"
_STREAM_SECONDS: Final = 300.0
"""After that Envoy opens another access-log stream, perhaps to another replica."""
_BUILDERS: Final[dict[str, Callable[[ServiceSettings], Service]]] = {
    "extauthz": extauthz.server.build,
    "ratelimit": ratelimit.server.build,
}


class ServiceName(StrEnum):
    """The two services."""

    EXTAUTHZ = "extauthz"
    RATELIMIT = "ratelimit"


_OWNERS: Final = {
    "card_key_file": (ServiceName.EXTAUTHZ, "ratelimit counts by keyed hashes and needs no key"),
    "descriptor_key_file": (ServiceName.RATELIMIT, "extauthz counts no descriptors"),
    "dpop_nonce_key_file": (ServiceName.EXTAUTHZ, "ratelimit reads no proofs"),
    "client_credentials_dir": (ServiceName.EXTAUTHZ, "ratelimit asks no token issuer"),
}
"""Settings that one service alone has, and why the other has none."""


class Transport(StrEnum):
    """How a service speaks gRPC."""

    ENVOY = "envoy"
    GRPCIO = "grpcio"


class Compat(StrEnum):
    """Whose surprises descriptor files are read and counted with."""

    ENVOYPROXY = COMPAT_ENVOYPROXY


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
        outcome_sans: Names of which the certificate of a caller that tells outcomes needs one; empty: any of the above,
            on loopback alone.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    peer_sans: tuple[str, ...] = ()
    outcome_sans: tuple[str, ...] = ()

    def to_options(self) -> TlsOptions | None:
        """Return what the transports read.

        Raises:
            ValueError: Options that need each other were not given together.
        """
        if self.certificate is None or self.private_key is None:
            if self == TlsRequest():
                return None
            names = "--tls-client-ca, --peer-san, --outcome-peer-san"
            raise ValueError(f"--tls-cert and --tls-key are given together, and {names} with them")
        client_ca = None if self.client_ca is None else str(self.client_ca.absolute())
        apart = ((STREAM_METHOD, self.outcome_sans),) if self.outcome_sans else ()
        certificate, private_key = str(self.certificate.absolute()), str(self.private_key.absolute())
        return TlsOptions(certificate, private_key, client_ca, self.peer_sans, apart)


@dataclass(frozen=True, slots=True)
class HostBounds:
    """Times and sizes of `HostOptions` that the command line sets."""

    max_message_bytes: int
    default_timeout_seconds: float
    max_timeout_seconds: float
    drain_seconds: float
    lame_duck_seconds: float


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
        bounds: Times and sizes.
        admin_token_file: File with the token of the admin pages, or None.
    """

    service: ServiceName
    listen: str
    admin: str | None
    transport: Transport | None
    is_insecure_listen: bool
    tls: TlsRequest
    settings: ServiceSettings
    bounds: HostBounds
    admin_token_file: Path | None = None


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
        if admin is not None and not admin.is_local:
            _check_exposed_admin(admin, request.admin_token_file, has_tls=tls is not None)
        _warn_of_outcomes(request, listen)
        return HostOptions(
            listen=listen,
            admin=admin,
            is_insecure_listen=is_exposed,
            tls=tls,
            admin_token_file=None if request.admin_token_file is None else str(request.admin_token_file.absolute()),
            max_stream_seconds=_STREAM_SECONDS if request.service is ServiceName.RATELIMIT else 0.0,
            **asdict(request.bounds),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _warn_of_outcomes(request: ServeRequest, listen: ListenAddress) -> None:
    has_quotas = request.service is ServiceName.RATELIMIT and request.settings.policies
    if has_quotas and not listen.is_local and not request.tls.outcome_sans:
        print(
            f"tollhouse serve: --listen {listen}: nobody may tell what became of payments, so "
            "`counts: authorized` gives nothing back; name Envoy with --outcome-peer-san (mutual TLS)",
            file=sys.stderr,
        )


def _check_exposed_admin(admin: ListenAddress, token_file: Path | None, *, has_tls: bool) -> None:
    if token_file is None:
        raise UsageError(
            f"--admin {admin} can be reached from other machines, and /policy and /metrics tell about merchants: ask "
            "for a token with --admin-token-file, or serve them on loopback or a Unix socket."
        )
    if not has_tls:
        print(
            f"--admin {admin} has no TLS: the admin token crosses the network in clear; --tls-cert and --tls-key serve "
            "these pages as well",
            file=sys.stderr,
        )


def _check_settings(request: ServeRequest) -> None:
    settings = request.settings
    _check_sources(request.service, settings)
    if request.service is ServiceName.EXTAUTHZ and request.tls.outcome_sans:
        raise UsageError("--outcome-peer-san belongs to ratelimit; extauthz is told no outcomes")
    if settings.log_level.upper() not in LEVELS:
        raise UsageError(f"--log-level must be one of {', '.join(LEVELS)}")
    if settings.decision_log != STDOUT and not _is_writable_file(Path(settings.decision_log)):
        raise UsageError(f"--decision-log {settings.decision_log} is not a file that can be written")
    if not re.fullmatch(r"https?://[!-~]+", settings.errors_uri):
        raise UsageError("--errors-uri must be an http or https URL")
    if not re.fullmatch(r"[ !#-\[\]-~]{1,64}", settings.realm):
        raise UsageError("--realm must be 1 to 64 visible ASCII characters without quotes and backslashes")
    _check_secrets(request.service, settings)
    _check_snapshot(request.service, settings)
    _check_store(request.service, settings)
    try:
        check_descriptor_settings(request.service.value, settings)
        check_event_settings(request.service.value, settings)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_sources(service: ServiceName, settings: ServiceSettings) -> None:
    is_extauthz = service is ServiceName.EXTAUTHZ
    if is_extauthz and settings.descriptors:
        raise UsageError("--descriptors belongs to ratelimit; extauthz counts nothing")
    if not settings.policies and (is_extauthz or not settings.descriptors):
        raise UsageError("--policies is needed" if is_extauthz else "--policies or --descriptors is needed")
    if not settings.descriptors and (settings.descriptors_compat or settings.merge_domains):
        raise UsageError("--compat and --merge-domains need --descriptors; a policy set says it in its manifest")
    for option, directory in (("--policies", settings.policies), ("--descriptors", settings.descriptors)):
        if directory and not Path(directory).is_dir():
            raise UsageError(f"{option} {directory} is not a directory")


def _is_writable_file(path: Path) -> bool:
    return os.access(path, os.W_OK) and not path.is_dir() if path.exists() else os.access(path.parent, os.W_OK)


def _check_secrets(service: ServiceName, settings: ServiceSettings) -> None:
    for name, (owner, why) in _OWNERS.items():
        if getattr(settings, name) and service is not owner:
            raise UsageError(f"--{name.replace('_', '-')} belongs to {owner.value}; {why}")
    if settings.client_credentials_dir and not os.path.isdir(settings.client_credentials_dir):
        raise UsageError(f"--client-credentials-dir {settings.client_credentials_dir} is not a directory")
    try:
        for path in (settings.dpop_nonce_key_file, settings.card_key_file, settings.descriptor_key_file):
            if path:
                read_card_keys_file(path)
        for path in filter(None, (settings.store_password_file, settings.sentinel_password_file)):
            read_one_line(path)
    except SecretInvalid as error:
        raise UsageError(str(error)) from error


def _check_snapshot(service: ServiceName, settings: ServiceSettings) -> None:
    if not settings.jwks_snapshot:
        return
    if service is ServiceName.RATELIMIT:
        raise UsageError("--jwks-snapshot belongs to extauthz; ratelimit verifies no token")
    try:
        check_directory(settings.jwks_snapshot)
    except SnapshotRefused as refusal:
        raise UsageError(f"--jwks-snapshot {settings.jwks_snapshot}: {refusal}") from refusal


def _check_store(service: ServiceName, settings: ServiceSettings) -> None:
    login = settings.store_password_file or settings.store_username
    if settings.sentinel_password_file and settings.store.partition("://")[0] not in SENTINEL_SCHEMES:
        raise UsageError("--sentinel-password-file needs a --store that is found by its sentinels")
    if service is ServiceName.EXTAUTHZ and settings.single_replica:
        raise UsageError("--single-replica belongs to ratelimit; extauthz counts nothing")
    if service is ServiceName.EXTAUTHZ and settings.store == EMBEDDED_STORE:
        raise UsageError("--store embedded: belongs to ratelimit; memory: remembers proofs for one lone process")
    if service is ServiceName.EXTAUTHZ and is_cluster(settings.store):
        raise UsageError("--store: a cluster is for ratelimit; used proofs go to a store with one primary")
    if not settings.store:
        _check_storeless(service, has_login=bool(login))
        return
    if settings.store in (EMBEDDED_STORE, MEMORY_STORE):
        if login:
            raise UsageError(f"--store {settings.store} asks for no login; take the --store-... options off")
        if service is ServiceName.RATELIMIT and not settings.single_replica:
            raise UsageError(
                f"--store {settings.store} counts for one lone process, and a restart forgets what was used: name a "
                "store with --store, or accept it with --single-replica"
            )
        return
    _check_store_url(settings)


def _check_storeless(service: ServiceName, *, has_login: bool) -> None:
    if service is ServiceName.RATELIMIT:
        raise UsageError("--store is needed, one for all replicas; memory: counts for one lone process, which forgets")
    # Whether extauthz needs one is found when its policy set is loaded (P093).
    if has_login:
        raise UsageError("--store-username and --store-password-file need --store")


def _check_store_url(settings: ServiceSettings) -> None:
    several = (f"{scheme}://" for scheme in (*SENTINEL_SCHEMES, *CLUSTER_SCHEMES))
    known = ("redis://", "rediss://", "unix://", *several, EMBEDDED_STORE, MEMORY_STORE)
    if not settings.store.startswith(known):
        raise UsageError(f"--store must be one of {', '.join(known)}")
    try:
        # First: it never repeats the URL, so neither does whatever is said after it.
        ratelimit.server.open_store(
            replace(settings, store_password_file="", store_username="", sentinel_password_file=""), SystemClock()
        )
        if has_password(settings.store):
            raise UsageError(
                "--store holds a password, and every user of the machine can read it in the process list: put it in a "
                "file and name that with --store-password-file"
            )
        if settings.store_username and not settings.store_password_file:
            raise UsageError("--store-username needs --store-password-file")
        ratelimit.server.open_store(settings, SystemClock())
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
        say("the embedded store ended by itself; nothing can be counted any more")
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
    quiet_grpc()
    from chassis.grpcio_server import serve_grpcio  # it imports grpc, which must have been quieted by then

    return await serve_grpcio(_builder(service, settings), options, stop=stop)


def _builder(service: ServiceName, settings: ServiceSettings) -> Callable[[], Any]:
    return lambda: _BUILDERS[service.value](settings)
