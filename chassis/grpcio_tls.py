"""TLS of the `grpcio` transport: credentials that follow the files, and who may call what.

Used by `grpcio_server`. Its law: gRPC itself only checks that a caller's certificate leads to the client CA; which
names may call is checked here, before any handler, the health check included.

Less strict than its twin where gRPC's C core decides: a caller whose certificate has expired can go on with the
connection that it has, and until the files change resume a TLS session, and no age ends a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import grpc
from cryptography import x509

from chassis.health import CHECK_METHOD
from chassis.tls import PeerSan, SanType, TlsOptions, peer_rules
from chassis.tls_files import TlsMaterial, TlsWatch

_CERTIFICATE_KEY = "x509_pem_cert"
"""Where gRPC's authentication context keeps the caller's certificate (grpc_security_constants.h).

Its `peer_dns` and `peer_uri` are of no use here: gRPC for Python ends each name at its first NUL character, so
`envoy.example\\0.other` would pass for `envoy.example`.
"""

_KEPT_CERTIFICATES = 256

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
    names_of = lru_cache(_KEPT_CERTIFICATES)(_names)
    rules = {rule.method: _check(rule.peers, names_of) for rule in peer_rules(tls, CHECK_METHOD)}
    return lambda method: rules.get(method, rules.get(None, _nobody))


def _check(peers: tuple[PeerSan, ...], names_of: Callable[[bytes], frozenset[PeerSan]]) -> PeerCheck:
    wanted = frozenset(peers)

    def is_allowed(context: Mapping[str, Iterable[bytes]]) -> bool:
        return any(not wanted.isdisjoint(names_of(pem)) for pem in context.get(_CERTIFICATE_KEY, ()))

    return is_allowed


def _names(pem: bytes) -> frozenset[PeerSan]:
    """Return the names of a certificate that gRPC has verified; none when they cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        hosts = names.get_values_for_type(x509.DNSName)
    except Exception:  # noqa: BLE001 - the library has many; what cannot be read names nobody
        return frozenset()
    return frozenset({*(PeerSan(SanType.URI, uri) for uri in uris), *(PeerSan(SanType.DNS, host) for host in hosts)})


def _nobody(context: Mapping[str, Iterable[bytes]]) -> bool:
    return False
