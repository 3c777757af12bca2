"""TLS of the `grpcio` transport: credentials that follow the files, and who may call what.

Used by `grpcio_server`. Its law: gRPC itself only checks that a caller's certificate leads to the client CA; which
names may call is checked here, before any handler, the health check included.

Less strict than its twin where gRPC's C core decides: a caller whose certificate has expired can go on with the
connection that it has, and until the files change resume a TLS session, and no age ends a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import grpc

from chassis.health import CHECK_METHOD
from chassis.tls import PeerSan, SanType, TlsOptions, peer_rules
from chassis.tls_files import TlsMaterial, TlsWatch

_CONTEXT_KEYS = {SanType.URI: "peer_uri", SanType.DNS: "peer_dns"}
"""Where gRPC's authentication context keeps the names of each type (grpc_security_constants.h)."""

PeerCheck = Callable[[Mapping[str, Iterable[bytes]]], bool]
"""Tells from a call's authentication context whether its caller may make it."""


def credentials_of(watch: TlsWatch | None) -> grpc.ServerCredentials | None:
    """Return credentials that use what the watch holds from each handshake to the next; None for plain text."""
    if watch is None:
        return None
    source = _Source()
    watch.subscribe(source.take)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(watch.current),
        source.fetch,
        require_client_authentication=watch.current.client_ca is not None,
    )


class _Source:
    """Hands new material over once; gRPC asks in a thread of its own before each handshake.

    A configuration that was returned replaces the server's; None keeps it, and with it what it has prepared.
    """

    def __init__(self) -> None:
        # Its append and pop are single steps, so that the two threads need no lock.
        self._fresh: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)

    def take(self, material: TlsMaterial) -> None:
        self._fresh.append(_configuration(material))

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            return self._fresh.pop()
        except IndexError:
            return None


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    pairs = [(material.private_key, material.certificate)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=material.client_ca)


def peer_checks(tls: TlsOptions | None) -> Callable[[str], PeerCheck | None]:
    """Return what gives the check of a method's callers; None: everybody who can connect may call it."""
    if tls is None or not tls.is_mutual:
        return lambda method: None
    rules = {rule.method: _check(rule.peers) for rule in peer_rules(tls, CHECK_METHOD)}
    return lambda method: rules.get(method, rules.get(None, _nobody))


def _check(peers: tuple[PeerSan, ...]) -> PeerCheck:
    wanted = {(_CONTEXT_KEYS[peer.type], peer.value.encode()) for peer in peers}

    def is_allowed(context: Mapping[str, Iterable[bytes]]) -> bool:
        return any(value in context.get(key, ()) for key, value in wanted)

    return is_allowed


def _nobody(context: Mapping[str, Iterable[bytes]]) -> bool:
    return False
