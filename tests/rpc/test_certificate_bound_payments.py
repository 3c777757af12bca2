"""Certificate-bound payments with Envoy's bytes, and what routes demand (RFC 8705, FAPI 2.0 section 5.3.4)."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from helpers.bound_gate import BoundPolicy, as_envoy, bound_gates, dpop_bytes, headers_of
from helpers.certificates import authority, client_pair
from helpers.issuer import SigningKey, b64
from helpers.services import check_bytes, reason_of

KEY = SigningKey("ES256", "k1")
AUTHORITY = authority()
EDGE = "spiffe://edge.example/envoy"


class Certificate:
    """A client's certificate as Envoy sends it, and as tokens name it."""

    def __init__(self, name: str) -> None:
        leaf = x509.load_pem_x509_certificates(client_pair(AUTHORITY, name).certificate)[0]
        digest = hashlib.sha256(leaf.public_bytes(Encoding.DER))
        self.encoded = quote(leaf.public_bytes(Encoding.PEM).decode(), safe="")
        self.hash = digest.hexdigest()
        self.cnf = {"x5t#S256": b64(digest.digest())}


OURS, THEIRS = Certificate("spiffe://shop.example/one"), Certificate("spiffe://shop.example/two")


async def bearer(gate, token, *, headers=None, **envoy):
    return await gate.call(as_envoy(check_bytes(token, headers=headers or {}), **envoy))


async def test_certificate_of_the_connection_confirms_the_token(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy(dpop="")) as (gate,):
        token = gate.bound(**OURS.cnf)
        assert reason_of(await bearer(gate, token, certificate=OURS.encoded)) == "allow"
        for shown in (THEIRS.encoded, "", "garbage", OURS.encoded + OURS.encoded):
            response = await bearer(gate, token, certificate=shown)
            assert reason_of(response) == "token_binding"
            assert headers_of(response)["www-authenticate"].startswith("Bearer ")
            assert 'error="invalid_token"' in headers_of(response)["www-authenticate"]
        # What the client itself says about a certificate is not heard.
        forged = {"x-forwarded-client-cert": f"Hash={OURS.hash}"}
        assert reason_of(await bearer(gate, token, headers=forged)) == "token_binding"
        assert reason_of(await bearer(gate, token, headers=forged, certificate=THEIRS.encoded)) == "token_binding"


async def test_certificate_that_the_trusted_hop_names_confirms_the_token(tmp_path):
    policy = BoundPolicy(dpop="", certificate=f"{{source: trusted_hop, trusted_hop: '{EDGE}'}}")
    async with bound_gates(tmp_path, KEY, policy) as (gate,):
        token = gate.bound(**OURS.cnf)
        said = {"x-forwarded-client-cert": f'By={EDGE};Hash={OURS.hash};Subject="CN=shop"'}
        assert reason_of(await bearer(gate, token, headers=said, principal=EDGE)) == "allow"
        assert (
            reason_of(await bearer(gate, token, headers=said, principal="spiffe://shop.example/one")) == "token_binding"
        )
        assert reason_of(await bearer(gate, token, headers=said)) == "token_binding"
        assert reason_of(await bearer(gate, token, certificate=OURS.encoded, principal=EDGE)) == "token_binding"
        appended = {"x-forwarded-client-cert": f"Hash={OURS.hash},Hash={THEIRS.hash}"}
        assert reason_of(await bearer(gate, token, headers=appended, principal=EDGE)) == "token_binding"


async def test_token_bound_twice_needs_both_proofs(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy()) as (gate,):
        token = gate.bound(jkt=gate.client.jkt, **OURS.cnf)

        async def reason(proof, certificate, scheme="DPoP"):
            message = as_envoy(dpop_bytes(token, proof, scheme=scheme), certificate=certificate)
            return reason_of(await gate.call(message))

        assert await reason(gate.proof(token), OURS.encoded) == "allow"
        assert await reason(gate.proof(token), THEIRS.encoded) == "token_binding"
        assert await reason(gate.proof(token), "") == "token_binding"
        assert await reason(None, OURS.encoded) == "dpop_proof_invalid"
        assert await reason(None, OURS.encoded, scheme="Bearer") == "token_binding"


@pytest.mark.parametrize(
    ("demand", "passes"),
    [
        ("none", {"nothing", "certificate", "key", "both"}),
        ("any", {"certificate", "key", "both"}),
        ("certificate", {"certificate", "both"}),
        ("dpop", {"key", "both"}),
    ],
)
async def test_route_demands_a_binding(tmp_path, demand, passes):
    async with bound_gates(tmp_path, KEY, BoundPolicy(demand=demand)) as (gate,):
        tokens = {
            "nothing": gate.token(),
            "certificate": gate.bound(**OURS.cnf),
            "key": gate.bound(),
            "both": gate.bound(jkt=gate.client.jkt, **OURS.cnf),
        }
        for binding, token in tokens.items():
            scheme = "DPoP" if binding in ("key", "both") else "Bearer"
            message = dpop_bytes(token, gate.proof(token), scheme=scheme)
            response = await gate.call(as_envoy(message, certificate=OURS.encoded))
            assert reason_of(response) == ("allow" if binding in passes else "token_binding"), binding


async def test_route_that_takes_dpop_alone_offers_nothing_else(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy(demand="dpop")) as (gate,):
        for message in (check_bytes(), check_bytes(gate.token()), dpop_bytes(gate.bound(), None)):
            challenge = headers_of(await gate.call(message))["www-authenticate"]
            assert challenge.startswith('DPoP realm="tollhouse", ')
            assert challenge.endswith('algs="ES256 EdDSA PS256"')
            assert "Bearer" not in challenge
        read = {"method": "GET", "path": "/v1/payments/p1", "body": b""}
        assert headers_of(await gate.call(check_bytes(**read)))["www-authenticate"].startswith("Bearer ")
