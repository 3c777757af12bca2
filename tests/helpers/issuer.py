"""A token issuer for tests: keys, tokens good and bad, and a real HTTP server for its documents.

Signatures are made with `cryptography` directly, so that no library smooths over what a test
wants broken.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helpers.introspection import IntrospectionServer

AUDIENCE = "https://pay.example.test"
NOW = 1_700_000_000
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def b64(raw: bytes) -> str:
    """Return base64url text without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _b64int(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@dataclass
class SigningKey:
    """A private key with its name; `alg` is one of RS*, PS*, ES*, EdDSA, Ed25519."""

    alg: str
    kid: str | None = "k1"
    bits: int = 2048
    private: Any = None

    def __post_init__(self) -> None:
        if self.private is not None:
            return
        if self.alg in _CURVES:
            self.private = ec.generate_private_key(_CURVES[self.alg])
        elif self.alg[:2] in ("RS", "PS"):
            self.private = rsa.generate_private_key(65537, self.bits)
        else:
            self.private = Ed25519PrivateKey.generate()

    def jwk(self, **overrides: Any) -> dict[str, Any]:
        """Return the public JWK; an override of None takes a member off."""
        members = {**self._material(), "use": "sig", "alg": self.alg, "kid": self.kid, **overrides}
        return {name: value for name, value in members.items() if value is not None}

    def _material(self) -> dict[str, Any]:
        public = self.private.public_key()
        if self.alg in _CURVES:
            numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
            crv = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[self.alg]
            return {"kty": "EC", "crv": crv, "x": _b64int(numbers.x, size), "y": _b64int(numbers.y, size)}
        if self.alg[:2] in ("RS", "PS"):
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": _b64int(numbers.n), "e": _b64int(numbers.e)}
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}

    def sign(self, message: bytes) -> bytes:
        """Return the JWS signature of `message`."""
        if self.alg in _CURVES:
            size = (self.private.curve.key_size + 7) // 8
            r, s = decode_dss_signature(self.sign_der(message))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.alg.startswith("RS"):
            return self.private.sign(message, padding.PKCS1v15(), _HASHES[self.alg[2:]])
        if self.alg.startswith("PS"):
            digest = _HASHES[self.alg[2:]]
            return self.private.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return self.private.sign(message)

    def sign_der(self, message: bytes) -> bytes:
        """Return an ECDSA signature in ASN.1 DER, which no JWS has."""
        return self.private.sign(message, ec.ECDSA(_HASHES[self.alg[2:]]))


def good_claims(issuer: str = "https://as.example.test", now: float = NOW, **overrides: Any) -> dict[str, Any]:
    """Return the claims of a good access token; an override of None takes a claim off."""
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "merchant-service-1",
        "client_id": "shop-1",
        "iat": int(now),
        "exp": int(now) + 600,
        "jti": "token-1",
        "scope": "payments:write payments:read",
        "merchant_id": "m-100",
        **overrides,
    }
    return {name: value for name, value in claims.items() if value is not None}


def good_header(key: SigningKey, **overrides: Any) -> dict[str, Any]:
    """Return the header of a good access token; an override of None takes a parameter off."""
    header = {"typ": "at+jwt", "alg": key.alg, "kid": key.kid, **overrides}
    return {name: value for name, value in header.items() if value is not None}


def mint(key: SigningKey, claims: Mapping[str, Any], **header: Any) -> str:
    """Return a signed token; `header` overrides parameters, None takes one off."""
    return mint_raw(key, json.dumps(good_header(key, **header)).encode(), json.dumps(dict(claims)).encode())


def mint_raw(key: SigningKey, header: bytes, claims: bytes) -> str:
    """Return a token over exactly these bytes, with a good signature."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


@dataclass
class IssuerServer:
    """An issuer on loopback. Everything a test may want to break is an attribute.

    Attributes:
        keys: What the JWK set lists: signing keys, or JWKs as they are.
        path: Path of the issuer, such as `/realms/shop`.
        status: Of every reply.
        jwks_status: Of the replies for the JWK set alone, when set.
        headers: Added to the replies that carry the JWK set.
        jwks_body: Sent instead of the key set, when set.
        metadata: Overrides members of the metadata document.
        jwks_fetches: How often the JWK set was asked for.
        metadata_fetches: How often metadata was asked for.
        gate: Requests wait here; cleared, nothing is answered.
        introspection: Answers about tokens at `/introspect`.
        asked: Set with every request.
    """

    keys: list[SigningKey | dict[str, Any]] = field(default_factory=list)
    path: str = ""
    status: int = 200
    jwks_status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    jwks_body: bytes | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    jwks_fetches: int = 0
    metadata_fetches: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    introspection: IntrospectionServer = field(default_factory=IntrospectionServer)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _runner: web.AppRunner | None = None

    @property
    def issuer(self) -> str:
        return self.url + self.path

    async def __aenter__(self) -> IssuerServer:
        self.gate.set()
        application = web.Application()
        self.introspection.gate.set()
        application.router.add_post("/introspect", self.introspection.answer)
        application.router.add_get("/{anything:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        self.introspection.gate.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.set()
        is_jwks = request.path == f"{self.path}/jwks"
        self.jwks_fetches += is_jwks
        self.metadata_fetches += not is_jwks
        await self.gate.wait()
        if is_jwks:
            return web.Response(body=self._jwks(), status=self.jwks_status or self.status, headers=self.headers)
        known = (
            f"{self.path}/.well-known/openid-configuration",
            f"/.well-known/oauth-authorization-server{self.path}",
        )
        if request.path not in known:
            return web.Response(status=404)
        document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **self.metadata}
        return web.json_response(document, status=self.status, headers={"cache-control": "no-store"})

    def _jwks(self) -> bytes:
        if self.jwks_body is not None:
            return self.jwks_body
        listed = [key.jwk() if isinstance(key, SigningKey) else key for key in self.keys]
        return json.dumps({"keys": listed}).encode()
