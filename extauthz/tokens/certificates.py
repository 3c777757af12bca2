"""The client certificate of a request, as a thumbprint (RFC 8705 section 3.1).

Its law (RFC 8705 section 6.5): a certificate counts when Envoy took it from the TLS connection, or when the one hop
that is trusted by name says so. A header of anybody else is not looked at.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_to_bytes

from extauthz.model import AuthzRequest

XFCC_HEADER: Final = "x-forwarded-client-cert"
MAX_CERTIFICATE_CHARACTERS: Final = 32_768
MAX_XFCC_CHARACTERS: Final = 16_384
_PAIR: Final = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)(;|\Z)')
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/]{1,64}={0,2}\n)+)-----END CERTIFICATE-----\n?\Z"
)
"""As Envoy writes it (RFC 7468 section 3, strict); readers of PEM skip text around it and know other labels."""
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class CertificateSource:
    """Where the client's certificate is known from.

    Attributes:
        trusted_hop: Name in the certificate of the proxy whose x-forwarded-client-cert is believed; None: the
            client's own connection ends at our Envoy.
    """

    trusted_hop: str | None = None

    def thumbprint(self, request: AuthzRequest) -> str | None:
        """Return the base64url SHA-256 of the client's certificate, or None where none is proven."""
        if self.trusted_hop is None:
            return peer_thumbprint(request.peer_certificate)
        if request.peer_principal != self.trusted_hop:
            return None
        return forwarded_thumbprint(request.headers.get(XFCC_HEADER, ""))


@lru_cache(maxsize=1024)
def peer_thumbprint(encoded: str) -> str | None:
    """Return the thumbprint of `source.certificate`: one certificate as URL-encoded PEM, or None for anything else."""
    if not encoded or len(encoded) > MAX_CERTIFICATE_CHARACTERS:
        return None
    # Not as in a form: a plus sign is base64 here.
    pem = _PEM.match(unquote_to_bytes(encoded))
    if pem is None:
        return None
    try:
        # Not looked into: Envoy has, and what is no certificate hashes to no token's binding.
        der = b64decode(pem[1].replace(b"\n", b""), validate=True)
    except ValueError:
        return None
    return _base64url(sha256(der).digest())


def forwarded_thumbprint(header: str) -> str | None:
    """Return the thumbprint that x-forwarded-client-cert names, or None.

    Exactly one element is read. Two mean that the hop appends to what its clients send, or that a name in a
    certificate holds a comma: then nothing tells which element is the hop's own.
    """
    if len(header) > MAX_XFCC_CHARACTERS:
        return None
    hashes: list[str] = []
    position = 0
    while position < len(header):
        pair = _PAIR.match(header, position)
        if pair is None:
            return None
        if pair[1].lower() == "hash":
            hashes.append(pair[2].strip('"'))
        position = pair.end()
    if len(hashes) != 1 or not _HASH.match(hashes[0]):
        return None
    return _base64url(bytes.fromhex(hashes[0]))


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")
