"""DPoP proofs, point by point (RFC 9449 section 4.3); every refused one has an accepted twin."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from extauthz.model import Deny
from extauthz.reasons import Reason
from extauthz.tokens.dpop import MAX_JTI_BYTES, MAX_PROOF_CHARACTERS, Proof, check_proof
from extauthz.tokens.providers import DpopPolicy
from helpers.dpop import DpopClient, bare_jwk, malleated
from helpers.issuer import NOW, SigningKey, b64
from helpers.requests import authz_request

POLICY = DpopPolicy(frozenset({"ES256", "PS256", "EdDSA"}), 60.0, 10.0, is_replay_checked=True, needs_nonce=False)
TOKEN = "the.access.token"
CLIENT = DpopClient()
SMALL_RSA = SigningKey("PS256", bits=1024)


def check(proof, token=TOKEN, policy=POLICY, now=float(NOW), **request):
    headers = {"dpop": proof} if proof is not None else {}
    asked = authz_request(headers=headers, **request)
    return check_proof(asked, hashlib.sha256(token.encode()).digest(), policy, now)


def refused(outcome):
    assert isinstance(outcome, Deny)
    assert outcome.reason is Reason.DPOP_PROOF
    assert outcome.challenge.error == "invalid_dpop_proof"
    return outcome.detail


@pytest.mark.parametrize("alg", ["ES256", "PS256", "Ed25519", "EdDSA"])
def test_good_proof_yields_its_key_and_name(alg):
    client = DpopClient(SigningKey(alg))
    outcome = check(client.proof(TOKEN, jti="a-name", nonce="n"))
    assert outcome == Proof(client.jkt, "a-name", "n")


def test_example_of_the_rfc():
    """RFC 9449 section 7.1: the request to the protected resource."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    proof = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpD"
        "a0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6"
        "IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGx"
        "lLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk"
        "1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
    )
    target = {"method": "GET", "host": "resource.example.org", "path": "/protectedresource"}
    outcome = check(proof, token, now=1562262618.0, **target)
    assert outcome == Proof("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "e1j3V_bKic8-LAEB", None)
    refused(check(proof, token, now=1562262679.0, **target))
    refused(check(proof, f"{token}x", now=1562262618.0, **target))


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": None},
        {"jti": ""},
        {"jti": 5},
        {"jti": "x" * (MAX_JTI_BYTES + 1)},
        {"jti": "é" * (MAX_JTI_BYTES // 2 + 1)},
        {"htm": None},
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": ["POST"]},
        {"htu": None},
        {"htu": ["https://pay.example.test/v1/payments"]},
        {"htu": "https://pay.example.test/v1/payments/1"},
        {"iat": None},
        {"iat": NOW - 61},
        {"iat": NOW + 11},
        {"iat": str(NOW)},
        {"iat": True},
        {"ath": None},
        {"ath": ""},
        {"ath": 7},
        {"ath": "é"},
        {"ath": b64(hashlib.sha256(b"another.access.token").digest())},
        {"ath": hashlib.sha256(TOKEN.encode()).hexdigest()},
        {"nonce": 5},
    ],
)
def test_claim_that_does_not_hold_refuses_the_proof(claims):
    refused(check(CLIENT.proof(TOKEN, **claims)))


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"iat": NOW - 60},
        {"iat": NOW + 10},
        {"iat": NOW + 5.5},
        {"jti": "x" * MAX_JTI_BYTES},
        {"nonce": "a"},
        {"foreign": {"deep": [1]}},
    ],
)
def test_claims_at_their_bounds_are_taken(claims):
    assert isinstance(check(CLIENT.proof(TOKEN, **claims)), Proof)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"typ": "dpop"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "es256"},
        {"alg": "ES384"},
        {"alg": None},
        {"jwk": None},
        {"jwk": "key"},
        {"jwk": [bare_jwk(CLIENT.key)]},
        {"jwk": bare_jwk(SigningKey("ES256"))},
        {"jwk": bare_jwk(CLIENT.key, kty="oct", k="c2VjcmV0")},
        {"jwk": bare_jwk(CLIENT.key, kty="AKP")},
        {"jwk": bare_jwk(CLIENT.key, kty=None)},
        {"jwk": bare_jwk(CLIENT.key, d="AAAA")},
        {"jwk": bare_jwk(CLIENT.key, use="enc")},
        {"jwk": bare_jwk(CLIENT.key, key_ops=["sign"])},
        {"jwk": bare_jwk(CLIENT.key, alg="ES512")},
        {"jwk": bare_jwk(CLIENT.key, x=b64(bytes(32)))},
        {"jwk": bare_jwk(CLIENT.key, y=5)},
        {"crit": ["b64"], "b64": False},
    ],
)
def test_header_that_does_not_hold_refuses_the_proof(header):
    refused(check(CLIENT.sign(CLIENT.header(**header), CLIENT.claims(TOKEN))))


def test_key_with_its_own_plain_members_is_taken():
    jwk = bare_jwk(CLIENT.key, use="sig", alg="ES256", kid="mine", key_ops=["verify"])
    outcome = check(CLIENT.sign(CLIENT.header(jwk=jwk), CLIENT.claims(TOKEN)))
    assert isinstance(outcome, Proof)
    assert outcome.jkt == CLIENT.jkt  # members beyond the key do not change its thumbprint (RFC 7638)


@pytest.mark.parametrize("key", [SMALL_RSA, SigningKey("ES384"), SigningKey("RS256")])
def test_key_or_algorithm_that_is_not_taken_refuses_a_well_signed_proof(key):
    refused(check(DpopClient(key).proof(TOKEN)))


@pytest.mark.parametrize(
    "proof",
    [
        None,
        "",
        "x",
        "a.b",
        "a.b.c",
        f"{CLIENT.proof(TOKEN)},{CLIENT.proof(TOKEN)}",
        f"{CLIENT.proof(TOKEN)}.x",
        f" {CLIENT.proof(TOKEN)}",
        f"{CLIENT.proof(TOKEN)}=",
        f"{CLIENT.proof(TOKEN)}é",
        "x" * (MAX_PROOF_CHARACTERS + 1),
    ],
)
def test_text_that_is_not_one_proof_is_refused(proof):
    refused(check(proof))


def test_signature_of_another_proof_is_refused():
    signed = CLIENT.proof(TOKEN).rpartition(".")[0]
    assert refused(check(f"{signed}.{CLIENT.proof(TOKEN).rpartition('.')[2]}")) == "signature does not verify"


def test_second_signature_text_of_one_proof_has_the_same_name():
    proof = CLIENT.proof(TOKEN)
    assert malleated(proof) != proof
    assert check(malleated(proof)) == check(proof)


def test_nothing_is_taken_that_policy_does_not_name():
    refused(check(CLIENT.proof(TOKEN), policy=replace(POLICY, algorithms=frozenset({"PS256"}))))
