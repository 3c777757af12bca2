"""Reads the files of a TLS listener and keeps reading them, so that a new certificate needs no restart.

Used by `host.ServiceHost` on both transports. Its law: only files that fit together are ever used; while those on
disk do not, the last good ones serve on, and log, metric and `/readyz` say so. A key is never shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from chassis.clock import Clock
from chassis.tls import TlsOptions

log = logging.getLogger("tollhouse.tls")

WARN_SECONDS: Final = 7 * 86400
"""Left of a certificate's life when `/readyz` starts to warn."""

POLL_SECONDS: Final = 0.5
_READ_SECONDS: Final = 5.0
_MAX_FILE_BYTES: Final = 1024 * 1024
_MIN_RSA_BITS: Final = 2048
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class TlsInvalid(Exception):  # noqa: N818 - the word of the policy loader
    """Files that cannot be served with; the text is for a person and shows nothing of a key."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """The content of the files, which was found to fit together.

    Attributes:
        certificate: PEM chain of the service.
        private_key: PEM.
        client_ca: PEM bundle; None without mutual TLS.
        not_after: Seconds since 1970 at which the first of the service's chain expires.
        warnings: What an operator should know although it works.
    """

    certificate: bytes
    private_key: bytes = field(repr=False)
    client_ca: bytes | None
    not_after: float
    warnings: tuple[str, ...] = ()


def load_tls(options: TlsOptions, now: float) -> TlsMaterial:
    """Read the files.

    Args:
        options: Which.
        now: Seconds since 1970.

    Raises:
        TlsInvalid: One is missing, unreadable, expired, not of a kind that can be served, or they do not belong
            together.
    """
    return check_tls(options, read_files(options), now)


@dataclass(frozen=True, slots=True)
class Files:
    """What the files hold at one moment, not yet looked at."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    client_ca: bytes | None
    is_key_open: bool


def read_files(options: TlsOptions) -> Files:
    """Read the files as they are; raises TlsInvalid when one cannot be read."""
    certificate, _ = _read("TLS certificate", options.certificate_file)
    private_key, mode = _read("TLS private key", options.private_key_file)
    client_ca = None if options.client_ca_file is None else _read("client CA", options.client_ca_file)[0]
    return Files(certificate, private_key, client_ca, bool(mode & stat.S_IROTH))


def _read(what: str, path: str) -> tuple[bytes, int]:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise TlsInvalid(f"{what} {path} is not a file")
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TlsInvalid(f"{what} {path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise TlsInvalid(f"{what} {path} is longer than {_MAX_FILE_BYTES} bytes")
    return content, mode


def _without_waiting(path: str, flags: int) -> int:
    """Open; a named pipe must hold up neither the start nor, in the thread that waits for it, the end."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def check_tls(options: TlsOptions, files: Files, now: float) -> TlsMaterial:
    """Return what the files hold if it can be served with; raises TlsInvalid."""
    chain = _certificates("TLS certificate", options.certificate_file, files.certificate)
    _check_dates(chain[0], f"TLS certificate {options.certificate_file}", now)
    key = _private_key(options.private_key_file, files.private_key)
    if key.public_key() != chain[0].public_key():
        raise TlsInvalid(
            f"TLS private key {options.private_key_file} does not belong to the first certificate in "
            f"{options.certificate_file}"
        )
    client_ca = None
    if files.client_ca is not None:
        client_ca = _pem(_client_authorities(options.client_ca_file or "", files.client_ca, now))
    # No refusal: Docker and Kubernetes hand secrets out as 0444 and 0644 into containers with one user.
    warnings = (f"TLS private key {options.private_key_file} can be read by every user",) if files.is_key_open else ()
    not_after = min(certificate.not_valid_after_utc for certificate in chain).timestamp()
    return TlsMaterial(_pem(chain), files.private_key, client_ca, not_after, warnings)


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Write down what was checked and no more: other readers take kinds of PEM blocks that this one passes over."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _certificates(what: str, path: str, pem: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            _read_whole(certificate)
    except _UNREADABLE:
        raise TlsInvalid(f"{what} {path} holds no PEM certificate that can be read") from None
    return certificates


def _read_whole(certificate: x509.Certificate) -> None:
    """Read every part: this library reads most of them when they are asked for, those of the transports at once.

    What those refuse would be said to be in use, while the certificates before it still were.
    """
    _ = certificate.public_key(), certificate.subject, certificate.issuer, certificate.extensions
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _check_dates(certificate: x509.Certificate, what: str, now: float) -> None:
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    if moment >= certificate.not_valid_after_utc:
        raise TlsInvalid(f"{what} expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
    if moment < certificate.not_valid_before_utc:
        raise TlsInvalid(f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}")


def _private_key(path: str, pem: bytes) -> PrivateKeyTypes:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise TlsInvalid(f"TLS private key {path} is encrypted; a key without a passphrase is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsInvalid(f"TLS private key {path} holds no PEM key that can be read") from None
    is_rsa = isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS
    is_ec = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)
    if not (is_rsa or is_ec):
        # What Envoy's TLS can serve with, so that both transports take the same.
        raise TlsInvalid(f"TLS private key {path} must be RSA of {_MIN_RSA_BITS} bits or more, or ECDSA P-256 to P-521")
    return key


def _client_authorities(path: str, pem: bytes, now: float) -> list[x509.Certificate]:
    certificates = _certificates("client CA", path, pem)
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    if all(moment >= certificate.not_valid_after_utc for certificate in certificates):
        raise TlsInvalid(f"client CA {path} has expired: no caller could connect")
    return certificates


class TlsWatch:
    """The material in use, renewed when the files change.

    Attributes:
        current: What serves now; replaced as a whole.
        problem: Why the files on disk are not what serves; empty when they are.
        failures: How often files were found that cannot be served with.
        reloads: How often new material was taken.
    """

    def __init__(self, options: TlsOptions, clock: Clock, poll_seconds: float = POLL_SECONDS) -> None:
        """Load the files.

        Args:
            options: Which files.
            clock: Wall time decides what has expired.
            poll_seconds: How often the files are read. Reading finds every kind of change: a file written in
                place, renamed over, or Kubernetes' `..data` link that points elsewhere.

        Raises:
            TlsInvalid: They cannot be served with.
        """
        self._options = options
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._seen: Files | TlsInvalid = read_files(options)
        self.current = check_tls(options, self._seen, clock.wall())
        self.problem = ""
        self.failures = 0
        self.reloads = 0
        self._judged: Files | TlsInvalid = self._seen
        self._subscribers: list[Callable[[TlsMaterial], None]] = []
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, take: Callable[[TlsMaterial], None]) -> None:
        """Have new material handed over, on the event loop, and what is in use now at once."""
        self._subscribers.append(take)
        take(self.current)

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def seconds_left(self) -> float:
        """Return the seconds until the certificate in use expires; negative afterwards."""
        return self.current.not_after - self._clock.wall()

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know, for `/readyz`."""
        left = self.seconds_left()
        found = list(self.current.warnings)
        if left <= 0:
            found.append("the TLS certificate has expired: callers refuse this service")
        elif left < WARN_SECONDS:
            found.append(f"the TLS certificate expires in {left / 86400:.1f} days")
        if self.problem:
            found.append(f"the last good TLS files serve on: {self.problem}")
        return tuple(found)

    async def _watch(self) -> None:
        reading: asyncio.Task[Files | TlsInvalid] | None = None
        while True:
            await asyncio.sleep(self._poll_seconds)
            # One at a time: a disk that does not answer would else take thread after thread, until none is left.
            reading = reading or asyncio.create_task(asyncio.to_thread(self._look))
            await asyncio.wait((reading,), timeout=_READ_SECONDS)
            if reading.done():
                self.offer(reading.result())
                reading = None
            else:
                self.offer(TlsInvalid(f"reading them took longer than {_READ_SECONDS:.0f} s"))

    def _look(self) -> Files | TlsInvalid:
        try:
            return read_files(self._options)
        except TlsInvalid as problem:
            return problem

    def offer(self, found: Files | TlsInvalid) -> None:
        """Judge what was read, once it was read twice alike: a pair is often written as two files."""
        before, self._seen = self._seen, found
        if not _is_same(before, found) or _is_same(found, self._judged):
            return
        try:
            if isinstance(found, TlsInvalid):
                raise found
            self._take(check_tls(self._options, found, self._clock.wall()))
        except TlsInvalid as problem:
            self._keep(str(problem))
        except OSError as error:
            self._keep(f"they cannot be handed on: {error.strerror}")
            return  # and tried again with the next look
        self._judged = found

    def _keep(self, problem: str) -> None:
        self.failures += 1
        if problem != self.problem:
            log.error("tls_files_invalid: %s; the last good ones serve on", problem)
        self.problem = problem

    def _take(self, material: TlsMaterial) -> None:
        for take in self._subscribers:
            take(material)
        self.problem = ""
        self.current = material
        self.reloads += 1
        until = dt.datetime.fromtimestamp(material.not_after, dt.UTC)
        log.info("tls_files_taken: the certificate is good until %s", f"{until:%Y-%m-%dT%H:%M:%SZ}")


def _is_same(one: Files | TlsInvalid, other: Files | TlsInvalid) -> bool:
    if isinstance(one, TlsInvalid) or isinstance(other, TlsInvalid):
        return type(one) is type(other) and str(one) == str(other)
    return one == other
