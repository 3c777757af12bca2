"""Builders of the cases on tokens that are bound to a certificate or to a DPoP key."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer, payment, plain
from helpers.cases.rig import CaseRig
from helpers.certificates import authority, client_pair
from helpers.dpop import DpopClient, bare_jwk, malleated
from helpers.issuer import SigningKey, b64

Requests = AsyncIterator[Request | Before]
EDGE = "spiffe://edge.example/envoy"
TRUSTED_HOP = (
    (
        "providers.yaml",
        "providers:\n",
        f"client_certificate: {{source: trusted_hop, trusted_hop: '{EDGE}'}}\nproviders:\n",
    ),
)


class Certificate:
    """A client's certificate as Envoy forwards it, and as a token names it."""

    def __init__(self, name: str) -> None:
        leaf = x509.load_pem_x509_certificates(client_pair(authority(), name).certificate)[0]
        digest = hashlib.sha256(leaf.public_bytes(Encoding.DER))
        self.encoded = quote(leaf.public_bytes(Encoding.PEM).decode(), safe="")
        self.hash = digest.hexdigest()
        self.cnf = {"x5t#S256": b64(digest.digest())}


@cache
def certificate(name: str) -> Certificate:
    """Return the certificate of a client, always the same one."""
    return Certificate(f"spiffe://shop.example/{name}")


@builds("T02", "mtls-bound-token-wrong-cert")
async def another_clients_certificate(rig: CaseRig) -> Requests:
    token = rig.token(cnf=certificate("a").cnf)
    yield Before(bearer(token, certificate=certificate("a").encoded))
    yield bearer(token, certificate=certificate("b").encoded)


@builds("T03", "mtls-bound-token-no-cert")
async def no_certificate(rig: CaseRig) -> Requests:
    yield bearer(rig.token(cnf=certificate("a").cnf))


@builds("T04")
async def certificate_header_of_the_client(rig: CaseRig) -> Requests:
    ours = certificate("a")
    yield bearer(rig.token(cnf=ours.cnf)).with_headers(("x-forwarded-client-cert", f"Hash={ours.hash}"))


@builds("T06", policy=TRUSTED_HOP)
async def two_elements_in_the_header(rig: CaseRig) -> Requests:
    ours, theirs = certificate("a"), certificate("b")
    request = bearer(rig.token(cnf=ours.cnf), principal=EDGE)
    yield Before(request.with_headers(("x-forwarded-client-cert", f"By={EDGE};Hash={ours.hash}")))
    yield request.with_headers(("x-forwarded-client-cert", f"Hash={ours.hash},By={EDGE};Hash={theirs.hash}"))


@builds("T09")
async def unbound_token_where_binding_is_demanded(rig: CaseRig) -> Requests:
    ours = certificate("a")
    bound = bearer(rig.token(cnf=ours.cnf), path="/v1/bound-payments", certificate=ours.encoded)
    yield Before(bound)
    yield bearer(rig.token(), path="/v1/bound-payments", certificate=ours.encoded)


@builds("client-cert-url-encoded-pem")
async def certificate_as_pem(rig: CaseRig) -> Requests:
    ours = certificate("a")
    for shown in (ours.encoded, "garbage", ""):
        yield bearer(rig.token(cnf=ours.cnf), certificate=shown)


@builds("client-cert-identity-from-peer")
async def certificate_instead_of_a_token(rig: CaseRig) -> Requests:
    for name in ("spiffe://pay.test/merchant/m_100", "", "spiffe://pay.test/merchant/m_100x"):
        yield plain(principal=name, certificate=certificate("a").encoded)


class Bound:
    """A DPoP client with a token bound to its key."""

    def __init__(self, rig: CaseRig, key: SigningKey | None = None, **claims: Any) -> None:
        self.client = DpopClient(key or SigningKey("ES256"))
        self.now = rig.clock.wall()
        self.token = rig.token(cnf={"jkt": self.client.jkt}, **claims)

    def proof(self, **claims: Any) -> str:
        """Return a good proof but for `claims`."""
        return self.client.proof(self.token, self.now, **claims)

    def signed(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        """Return a proof with another header."""
        made = self.client.claims(self.token, self.now, **(claims or {}))
        return self.client.sign(self.client.header(**header), made)

    def request(self, proof: str | None, **fields: Any) -> Request:
        """Return a payment with scheme DPoP."""
        request = plain(**fields).with_headers(("authorization", f"DPoP {self.token}"))
        return request if proof is None else request.with_headers(("dpop", proof))


@builds("D02")
async def no_proof(rig: CaseRig) -> Requests:
    yield Bound(rig).request(None)


@builds("D04")
async def proof_of_another_type(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.signed(typ="JWT"))


@builds("D05")
async def proof_with_another_algorithm(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    for alg in ("HS256", "none"):
        yield bound.request(bound.signed(alg=alg))
    other = Bound(rig, SigningKey("ES384"))
    yield other.request(other.proof())


@builds("D07")
async def private_key_in_the_proof(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.signed(jwk=bare_jwk(bound.client.key, d="AQAB")))


@builds("D08")
async def proof_for_another_method(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    for method in ("GET", "post"):
        yield bound.request(bound.proof(htm=method))


@builds("D10")
async def query_that_the_proof_leaves_out(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.proof(), path="/v1/payments?x=1")


@builds("D11")
async def address_in_another_spelling(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.proof(htu="HTTPS://PAY.example.test:443/%761/payments"))


@builds("D12")
async def path_rewritten_behind_the_gate(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.proof()).with_headers(("x-envoy-original-path", "/internal/pay"))


@builds("D13")
async def proof_outside_of_its_time(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    # A second more than the case says on either side of the clock: it runs on while the proof travels.
    for shift in (-61, 13):
        yield bound.request(bound.proof(iat=int(bound.now) + shift))


@builds("D14")
async def proof_five_seconds_ahead(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.proof(iat=int(bound.now) + 5))


@builds("D16")
async def proof_for_another_token(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    other = rig.token(cnf={"jkt": bound.client.jkt}, jti="token-2")
    yield bound.request(bound.client.proof(other, bound.now))


@builds("D18")
async def proof_twice(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    proof = bound.proof()
    yield Before(bound.request(proof))
    yield bound.request(proof)


@builds("D20")
async def proof_twice_in_other_text(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    proof = bound.proof()
    yield Before(bound.request(proof))
    yield bound.request(malleated(proof))


@builds("D21")
async def proof_with_an_impossible_id(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    for jti in ("x" * 100_000, "", 5, "x" * 257):
        yield bound.request(bound.proof(jti=jti))


@builds("D26")
async def unbound_token_with_a_proof(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    bound.token = rig.token()
    yield bound.request(bound.proof())


@builds("D27")
async def proof_with_a_key_that_is_none(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    for jwk in (bare_jwk(bound.client.key, y=b64(b"\x01" * 32)), {"kty": "WHAT", "x": "AA"}):
        yield bound.request(bound.signed(jwk=jwk))
    weak = Bound(rig, SigningKey("PS256", bits=1024))
    yield weak.request(weak.proof())


@builds("D28", needs_own_rig=True)
async def replay_store_away(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    yield bound.request(bound.proof())


@builds("D30")
async def captured_proof_with_another_body(rig: CaseRig) -> Requests:
    bound = Bound(rig)
    proof = bound.proof()
    yield Before(bound.request(proof))
    yield bound.request(proof, body=payment(amount=123_500))
