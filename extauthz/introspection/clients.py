"""Who we are to a token issuer: the credentials that its introspection endpoint asks for (RFC 7662 section 2.1).

Secret, key and certificate stand in a directory of the operator, in files named after the provider. They are read when
a policy set is compiled; a changed file is taken up by the next reload.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chassis.clock import Clock
from chassis.http_client import FormPost
from chassis.ids import Ids
from chassis.secret_file import SecretInvalid, exposure_warnings, fingerprint_of, read_one_line, read_secret
from policy.schema.introspection import Introspection

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 60
_SUFFIXES: Final = (".secret", ".key", ".crt")
_EC_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class IssuerClient:
    """Authenticates one request after the other.

    Attributes:
        client_id: Our name there.
        method: As in policy.
        endpoint: Where questions go.
        audience: Of assertions: the issuer, which every issuer knows itself by.
        secret: For both secret methods.
        key: Private key of assertions; None otherwise.
        tls: Client certificate; None otherwise.
    """

    client_id: str
    method: str
    endpoint: str
    audience: str
    secret: str = field(default="", repr=False)
    key: Any = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def form(self, token: str, accept: str, clock: Clock, ids: Ids) -> FormPost:
        """Return the request about `token`, authenticated (RFC 6749 section 2.3.1, RFC 7523 section 2.2, RFC 8705)."""
        fields = {"token": token, "token_type_hint": "access_token"}
        headers = {"accept": accept}
        if self.method == "client_secret_basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"
        else:
            fields |= {"client_id": self.client_id, **self._proof(clock, ids)}
        return FormPost(fields, headers, self.tls)

    def _proof(self, clock: Clock, ids: Ids) -> Mapping[str, str]:
        if self.method == "client_secret_post":
            return {"client_secret": self.secret}
        if self.method == "private_key_jwt":
            return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self._assertion(clock, ids)}
        return {}

    def _assertion(self, clock: Clock, ids: Ids) -> str:
        now = int(clock.wall())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": ids.decision_id(),
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jwt.encode(claims, self.key, algorithm=algorithm_of(self.key))


def algorithm_of(key: Any) -> str:
    """Return the signature algorithm for a private key; raises ValueError for a kind that no issuer takes."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "PS256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _EC_ALGORITHMS:
        return _EC_ALGORITHMS[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA"
    raise ValueError("a key of this kind or size signs nothing")


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """The operator's directory; empty for none."""

    directory: str

    def client(self, provider_id: str, issuer: str, policy: Introspection) -> IssuerClient:
        """Read the credentials of one provider.

        Args:
            provider_id: Names the files.
            issuer: Its exact `iss`.
            policy: How it is asked.

        Raises:
            SecretInvalid: No directory was given, or a file of the provider cannot be used.
        """
        if not self.directory:
            raise SecretInvalid((f"{provider_id}: introspection needs --client-credentials-dir",))
        common = (policy.client_id, policy.authentication, policy.endpoint, issuer)
        match policy.authentication:
            case "private_key_jwt":
                return IssuerClient(*common, key=_read_key(self._path(provider_id, ".key")))
            case "tls_client_auth":
                paths = self._path(provider_id, ".crt"), self._path(provider_id, ".key")
                return IssuerClient(*common, tls=_client_tls(*paths))
        return IssuerClient(*common, secret=read_one_line(self._path(provider_id, ".secret")))

    def fingerprint(self) -> str:
        """Return what changes whenever a file does."""
        return " ".join(f"{path.name}={fingerprint_of(str(path))}" for path in self._files())

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the files."""
        secret = [path for path in self._files() if path.suffix != ".crt"]
        return tuple(warning for path in secret for warning in exposure_warnings(str(path)))

    def _path(self, provider_id: str, suffix: str) -> str:
        return str(Path(self.directory) / f"{provider_id}{suffix}")

    def _files(self) -> list[Path]:
        if not self.directory:
            return []
        try:
            return sorted(path for path in Path(self.directory).iterdir() if path.suffix in _SUFFIXES)
        except OSError:
            return []


def _read_key(path: str) -> Any:
    try:
        key = load_pem_private_key(read_secret(path), None)
        algorithm_of(key)
    except (ValueError, TypeError):
        raise SecretInvalid((f"{path}: holds no private key that can sign, in PEM without a password",)) from None
    return key


def _client_tls(certificate: str, key: str) -> ssl.SSLContext:
    # Read first, for a clear word about a file that is missing; OpenSSL reads it again by name.
    read_secret(certificate)
    read_secret(key)
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError):
        raise SecretInvalid((f"{certificate}: is no certificate chain in PEM that belongs to {key}",)) from None
    return context
