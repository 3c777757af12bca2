"""A client that signs its requests with a second implementation of RFC 9421, so that ours does not test itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from http_message_signatures import HTTPMessageSigner, algorithms

from helpers.issuer import SigningKey

COMPONENTS = ("@method", "@target-uri", "authorization", "content-digest")
ADDRESS = "https://payments.tollhouse.test/v1/payments"
ALGORITHMS = {
    "ecdsa-p256-sha256": ("ES256", algorithms.ECDSA_P256_SHA256),
    "ed25519": ("Ed25519", algorithms.ED25519),
    "rsa-pss-sha512": ("PS512", algorithms.RSA_PSS_SHA512),
    "rsa-v1_5-sha256": ("RS256", algorithms.RSA_V1_5_SHA256),
}
_NONCES = count()


@dataclass
class Message:
    """An HTTP request as the signing library wants it."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Signed:
    """How one request is signed.

    Attributes:
        created: Seconds since 1970; None for now.
        expires: Likewise; None for none.
        nonce: None for one that was never used; empty for none.
        url: What the client believes to be asking.
    """

    components: Sequence[str] = COMPONENTS
    created: float | None = None
    expires: float | None = None
    nonce: str | None = None
    tag: str | None = None
    label: str = "sig1"
    include_alg: bool = True
    method: str = "POST"
    url: str = ADDRESS


@dataclass
class SigningClient:
    """A client with a key.

    Attributes:
        algorithm: Of the registry in RFC 9421.
        keyid: Of its key.
        key: Made when left out.
    """

    algorithm: str = "ecdsa-p256-sha256"
    keyid: str = "shop-key-1"
    key: SigningKey = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.key is None:
            self.key = SigningKey(ALGORITHMS[self.algorithm][0])

    def entry(self, issuer: str, client_id: str = "shop-1") -> str:
        """Return the entry of providers.yaml, one line of YAML."""
        jwk = self.key.jwk(use=None, alg=None, kid=None)
        signer = {"keyid": self.keyid, "issuer": issuer, "client_id": client_id, "algorithm": self.algorithm}
        return f"  - {json.dumps({**signer, 'key': jwk})}\n"

    def resolve_private_key(self, _: str) -> Any:
        """Return the key to the signing library."""
        return self.key.private

    def resolve_public_key(self, _: str) -> Any:
        """Return the key to the signing library."""
        return self.key.private.public_key()

    def sign(
        self, headers: dict[str, str], body: bytes | None, how: Signed = Signed(), **changes: Any
    ) -> dict[str, str]:
        """Return `headers` with Signature-Input and Signature, and with Content-Digest where there is a body.

        A digest that is there is kept, and signatures that are there stay.
        """
        how = replace(how, **changes)
        message = Message(how.method, how.url, dict(headers))
        signer = HTTPMessageSigner(signature_algorithm=ALGORITHMS[self.algorithm][1], key_resolver=self)
        signer.sign(
            message,
            key_id=self.keyid,
            created=None if how.created is None else datetime.fromtimestamp(int(how.created), UTC),
            expires=None if how.expires is None else datetime.fromtimestamp(int(how.expires), UTC),
            nonce=f"nonce-{next(_NONCES)}" if how.nonce is None else how.nonce or None,
            label=how.label,
            tag=how.tag,
            include_alg=how.include_alg,
            covered_component_ids=how.components,
            append_if_signature_exists="signature-input" in message.headers,
            body=body if "content-digest" in how.components else None,
            use_existing_digest="content-digest" in message.headers,
        )
        return {name.lower(): value for name, value in message.headers.items()}
