"""A certificate authority for one machine and a few weeks; `tollhouse dev-secrets` and the tests issue with it.

Its law: the authority's own key never leaves the memory of the process that made it, so whoever finds the files
that were issued can issue nothing.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Usage(Enum):
    """What a certificate is good for (RFC 5280 section 4.2.1.12)."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is good.

    Attributes:
        start: Aware date; not before.
        end: Aware date; not after.
    """

    start: dt.datetime
    end: dt.datetime

    @classmethod
    def days_from(cls, now: dt.datetime, days: float) -> Validity:
        """Return the days from `now` on, and an hour before, for clocks that are behind."""
        return cls(now - dt.timedelta(hours=1), now + dt.timedelta(days=days))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    private_key: bytes


class Authority:
    """Issues certificates; its key lives as long as the object."""

    def __init__(self, name: str, validity: Validity) -> None:
        self._validity = validity
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _distinguished(name)
        self._certificate = self._self_signed()

    @property
    def certificate(self) -> bytes:
        """The authority's certificate, PEM: what others are told to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: tuple[str, ...], usage: Usage, validity: Validity | None = None) -> KeyPair:
        """Return a new key with a certificate for it.

        Args:
            names: Subject alternative names; `scheme://...` is a URI, an IP address is one, else DNS.
            usage: The one thing the certificate is good for.
            validity: None: as long as the authority's own.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        during = validity or self._validity
        certificate = (
            # Names live in the extension alone, where RFC 9525 has them looked for.
            _builder(_distinguished("tollhouse development"), self._name, key.public_key(), during)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage.value]), critical=False)
            .add_extension(_authority_id(self._key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    def _self_signed(self) -> x509.Certificate:
        return (
            _builder(self._name, self._name, self._key.public_key(), self._validity)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.start)
        .not_valid_after(validity.end)
    )


def _distinguished(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _authority_id(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
