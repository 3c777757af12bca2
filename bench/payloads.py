"""Who calls in the benchmarks: one token, merchant, card and body for each h2load process."""

from __future__ import annotations

import json
import threading
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.cases import EXTAUTHZ, PolicyShape
from bench.policy_sets import AUDIENCE, DESCRIPTOR_DOMAIN, HOST, OPERATION, PATH, SCOPE, merchant_id
from chassis.clock import SystemClock
from policy.handoff import DOMAIN, ENTRIES, NONE, UNREAD, VERSION
from protos import envoy_wire_pb2 as wire

_KEY_ID: Final = "bench-1"
_LIFETIME_SECONDS: Final = 86_400
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """A key pair and where its public half is served.

    Attributes:
        url: `iss` of every token.
        key: Signs them, RS256.
    """

    url: str
    key: rsa.RSAPrivateKey

    @property
    def jwks_uri(self) -> str:
        """Where the key set is."""
        return f"{self.url}/jwks.json"

    def token(self, index: int, merchant: str, jkt: str | None = None) -> str:
        """Return an access token (RFC 9068) of caller number `index`, bound to a DPoP key if one is named."""
        now = int(SystemClock().wall())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"client-{index}",
            "client_id": f"client-{index}",
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
            "jti": f"bench-{index}",
            "scope": SCOPE,
            "merchant_id": merchant,
            **({} if jkt is None else {"cnf": {"jkt": jkt}}),
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"typ": "at+jwt", "kid": _KEY_ID})


@contextmanager
def running_issuer(port: int = 0) -> Iterator[TokenIssuer]:
    """Serve a fresh key set on loopback; port 0 takes any."""
    key = rsa.generate_private_key(65537, 2048)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    document = json.dumps({"keys": [{**jwk, "kid": _KEY_ID, "use": "sig", "alg": "RS256"}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        """Answers every GET with the key set."""

        def do_GET(self) -> None:
            """Send the document."""
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((_LOOPBACK, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield TokenIssuer(f"http://{_LOOPBACK}:{server.server_address[1]}", key)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def request_messages(service: str, issuer: TokenIssuer, shape: PolicyShape, count: int) -> list[bytes]:
    """Return `count` serialised requests, spread over the merchants of a policy set."""
    step = max(shape.merchants // count, 1)
    ids = [merchant_id(index * step % shape.merchants) for index in range(count)]
    if shape.is_dpop_bound:
        return [dpop_request(index, merchant, issuer) for index, merchant in enumerate(ids)]
    if service == EXTAUTHZ:
        return [check_request(index, merchant, issuer.token(index, merchant)) for index, merchant in enumerate(ids)]
    if shape.has_descriptors:
        return [descriptor_request(merchant) for merchant in ids]
    return [rate_limit_request(index, merchant) for index, merchant in enumerate(ids)]


def framed(message: bytes) -> bytes:
    """Return the message as the body of a unary gRPC call (grpc PROTOCOL-HTTP2.md, "Length-Prefixed-Message")."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def payment_body(index: int, merchant: str) -> bytes:
    """Return the JSON body of a card payment that no rule of the generated sets hits."""
    body = {
        "merchant_id": merchant,
        "reference": f"order-2024-{index:06d}",
        "amount": {"minor_units": 1250 + index, "currency": "EUR"},
        "initiator": "cit",
        "method": "card",
        "card": {
            "bin": f"4571{index:02d}",
            "last4": f"{1000 + index}",
            "country": "DE",
            "funding": "credit",
            "brand": "visa",
        },
        "payer": {"id": f"payer-{index}", "country": "DE", "ip": f"192.0.2.{index + 1}"},
        "device": {"id": f"device-{index:08x}"},
        "shipping": {"country": "DE", "city": "Berlin", "postal_code": "10115"},
        "billing": {"country": "DE", "city": "Berlin", "postal_code": "10115"},
        "items": [{"sku": "sku-1", "quantity": 1, "minor_units": 750}, {"sku": "sku-2", "quantity": 2}],
    }
    return json.dumps(body, separators=(",", ":")).encode()


def check_request(index: int, merchant: str, token: str) -> bytes:
    """Return a CheckRequest as Envoy writes it for a payment."""
    body = payment_body(index, merchant)
    message = wire.CheckRequest()
    attributes = message.attributes
    attributes.source.address.socket_address.address = f"203.0.113.{index + 1}"
    attributes.source.address.socket_address.port_value = 40_000 + index
    attributes.destination.address.socket_address.address = "192.0.2.10"
    attributes.destination.address.socket_address.port_value = 443
    http = attributes.request.http
    http.id = f"{1_000_000_000 + index}"
    http.method, http.path, http.host = "POST", PATH, HOST
    http.scheme, http.protocol = "https", "HTTP/2"
    http.size, http.raw_body = len(body), body
    headers = {
        ":authority": HOST,
        ":method": "POST",
        ":path": PATH,
        ":scheme": "https",
        "accept": "application/json",
        "authorization": f"Bearer {token}",
        "content-length": str(len(body)),
        "content-type": "application/json",
        "user-agent": "shop-backend/3.2",
        "x-forwarded-proto": "https",
        # As Envoy draws them: one made of digits alone would send every decision record through the slow
        # search for card numbers.
        "x-request-id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PATH}#{index}")),
    }
    http.headers.update(headers)
    return message.SerializeToString()


def dpop_request(index: int, merchant: str, issuer: TokenIssuer) -> bytes:
    """Return the CheckRequest of a payment with a bound token and its proof.

    Stream number and time make every repetition the same request to the gate, so that its proof passes again and
    each check costs what a first one does: a signature and a mark in the store.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    token = issuer.token(index, merchant, _base64url(sha256(members.encode()).digest()))
    now = int(SystemClock().wall())
    claims = {
        "jti": f"proof-{index}",
        "htm": "POST",
        "htu": f"https://{HOST}{PATH}",
        "iat": now,
        "ath": _base64url(sha256(token.encode()).digest()),
    }
    proof = jwt.encode(claims, key, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": jwk})
    message = wire.CheckRequest.FromString(check_request(index, merchant, token))
    message.attributes.request.time.seconds = now
    message.attributes.request.http.headers["authorization"] = f"DPoP {token}"
    message.attributes.request.http.headers["dpop"] = proof
    return message.SerializeToString()


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def descriptor_request(merchant: str) -> bytes:
    """Return a RateLimitRequest with two descriptors: a merchant's calls, and those of one operation."""
    request = wire.RateLimitRequest(domain=DESCRIPTOR_DOMAIN)
    entries = (("merchant", merchant), ("operation", OPERATION))
    for count in (1, 2):
        descriptor = request.descriptors.add()
        for key, value in entries[:count]:
            descriptor.entries.add(key=key, value=value)
    return request.SerializeToString()


def rate_limit_request(index: int, merchant: str) -> bytes:
    """Return a RateLimitRequest that carries the hand-off of a payment."""
    values = {
        "handoff": VERSION,
        "merchant_id": merchant,
        "operation": OPERATION,
        "currency": "EUR",
        "amount_minor": str(1250 + index),
        "card_key": NONE,
        "sub_merchant": UNREAD,
        "payer": UNREAD,
        "device": UNREAD,
        "ip": UNREAD,
        "idempotency": NONE,
        "decision_id": uuid.uuid5(uuid.NAMESPACE_URL, f"{PATH}#{index}").hex,
        "policy_revision": "0123456789abcdef",
    }
    request = wire.RateLimitRequest(domain=DOMAIN)
    descriptor = request.descriptors.add()
    for name in ENTRIES:
        descriptor.entries.add(key=name, value=values[name])
    return request.SerializeToString()
