"""Who may call a service: its certificate, whose certificates it believes, and which names among those.

Part of `listen.HostOptions`; both transports are built from it. Its law: a certificate of the right authority is
not enough. Whoever is let in is named, each name exactly, and in its own type (RFC 9525 section 6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_URI = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+")
_DNS_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_MAX_DNS_CHARACTERS = 253
_MAX_URI_CHARACTERS = 2048  # the longest SPIFFE id (SPIFFE-ID section 2.3)


class SanType(Enum):
    """The types of a subject alternative name that can name a peer (RFC 5280 section 4.2.1.6)."""

    URI = "uri"
    DNS = "dns"


@dataclass(frozen=True, slots=True)
class PeerSan:
    """A name that a caller's certificate must carry.

    Attributes:
        type: The type it must have there.
        value: Compared exactly, without wildcards.
    """

    type: SanType
    value: str

    @classmethod
    def parse(cls, text: str) -> PeerSan:
        """Read `spiffe://tollhouse.example/envoy` as a URI, `envoy.example` as a DNS name.

        Raises:
            ValueError: With a text that says what is wrong.
        """
        if "://" in text:
            if len(text) > _MAX_URI_CHARACTERS or not _URI.fullmatch(text):
                raise ValueError(f"{text!r} is no peer SAN: write the URI as it stands in the certificate")
            return cls(SanType.URI, text)
        if "*" in text:
            raise ValueError(f"{text!r} is no peer SAN: names are compared exactly, there are no wildcards")
        if len(text) > _MAX_DNS_CHARACTERS or not _DNS.fullmatch(text):
            raise ValueError(f"{text!r} is no peer SAN: write a URI (spiffe://...) or a DNS name")
        return cls(SanType.DNS, text)


@dataclass(frozen=True, slots=True)
class PeerRule:
    """Which callers may call one method.

    Attributes:
        method: Full path of a gRPC method; None: every method that no other rule names.
        peers: A caller needs one of these names.
    """

    method: str | None
    peers: tuple[PeerSan, ...]


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS of one listener: server certificate and, with `client_ca_file`, mutual TLS.

    Attributes:
        certificate_file: PEM, the service's certificate first, then its intermediates.
        private_key_file: PEM, not encrypted; belongs to the first certificate.
        client_ca_file: PEM bundle; a caller's certificate must lead to one of these. None: callers show none.
        peer_sans: A caller's certificate must carry one of these names; texts that `PeerSan.parse` reads.
        method_sans: Methods with callers of their own: full path, and the names that take the place of `peer_sans`.
    """

    certificate_file: str
    private_key_file: str
    client_ca_file: str | None = None
    peer_sans: tuple[str, ...] = ()
    method_sans: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        """Refuse half of a mutual TLS: each half alone would look like more protection than it is."""
        # JSON has lists
        object.__setattr__(self, "peer_sans", tuple(self.peer_sans))
        object.__setattr__(self, "method_sans", tuple((method, tuple(sans)) for method, sans in self.method_sans))
        for text in self._texts:
            PeerSan.parse(text)
        if self.client_ca_file is not None and not self.peer_sans:
            raise ValueError("a client CA without a peer SAN would let in all that it ever signed: name the callers")
        if self.client_ca_file is None and (self.peer_sans or self.method_sans):
            raise ValueError("a peer SAN without a client CA proves nothing: anybody can sign any name")

    @property
    def is_mutual(self) -> bool:
        """Whether callers must prove who they are."""
        return self.client_ca_file is not None

    @property
    def peers(self) -> tuple[PeerSan, ...]:
        """Every name that may open a connection, whatever it may call then."""
        return _parsed(self._texts)

    @property
    def _texts(self) -> tuple[str, ...]:
        every = (*self.peer_sans, *(text for _, sans in self.method_sans for text in sans))
        return tuple(dict.fromkeys(every))


def _parsed(texts: tuple[str, ...]) -> tuple[PeerSan, ...]:
    return tuple(PeerSan.parse(text) for text in texts)


def peer_rules(tls: TlsOptions, health_method: str) -> tuple[PeerRule, ...]:
    """Return who may call which method; a method that no rule names nobody may call.

    Whoever may open a connection may ask for health, or its load balancer would take us for dead.
    """
    apart = (PeerRule(method, _parsed(sans)) for method, sans in tls.method_sans)
    return PeerRule(health_method, tls.peers), *apart, PeerRule(None, _parsed(tls.peer_sans))
