"""Oracles of the readers of proofs and certificates: joserfc, and the standard library's own PEM and text functions."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from urllib.parse import unquote, urlsplit

from joserfc.jwk import ECKey

from extauthz.model import Deny
from extauthz.tokens.certificates import forwarded_thumbprint, peer_thumbprint
from extauthz.tokens.dpop import Proof, check_proof
from extauthz.tokens.providers import DpopPolicy
from helpers.dpop import DpopClient
from helpers.fuzzing.engine import Target
from helpers.issuer import NOW, SigningKey, b64
from helpers.requests import authz_request

TOKEN_TEXT = "the.access.token"
CLIENT = DpopClient(SigningKey("ES256"))
_DIGEST = hashlib.sha256(TOKEN_TEXT.encode()).digest()
_POLICY = DpopPolicy(frozenset({"ES256"}), 60.0, 10.0, is_replay_checked=True, needs_nonce=False)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def run_proof(data: bytes) -> None:
    """Two lines, header and claims; `KEY` is the client's key. What passes is a proof by the RFC's own words."""
    header, newline, claims = data.replace(b"KEY", json.dumps(CLIENT.header()["jwk"]).encode()).partition(b"\n")
    if newline:
        signed = f"{b64(header)}.{b64(claims)}"
        text = f"{signed}.{b64(CLIENT.key.sign(signed.encode()))}"
    else:
        text = data.decode("latin-1")
    request = authz_request(headers={"dpop": text})
    outcome = check_proof(request, _DIGEST, _POLICY, float(NOW))
    if isinstance(outcome, Deny):
        return
    assert isinstance(outcome, Proof)
    read_header, read = json.loads(header), json.loads(claims)
    assert (read_header["typ"].lower(), read_header["alg"]) == ("dpop+jwt", "ES256")
    assert ECKey.import_key(read_header["jwk"]).thumbprint() == outcome.jkt == CLIENT.jkt
    assert "d" not in read_header["jwk"]
    assert (read["htm"], read["jti"], read["ath"]) == ("POST", outcome.jti, b64(_DIGEST))
    assert NOW - 60 <= read["iat"] <= NOW + 10
    target = urlsplit(read["htu"])
    assert (target.scheme, target.hostname) == ("https", "pay.example.test")
    assert target.port in (None, 443)
    assert unquote(target.path) == "/v1/payments"


def run_certificate(data: bytes) -> None:
    """What has a thumbprint is one certificate, and the thumbprint is that of its bytes."""
    text = data.decode("latin-1")
    thumbprint = peer_thumbprint(text)
    if thumbprint is None:
        return
    pem = unquote(text, "latin-1")
    assert pem.count("-----BEGIN CERTIFICATE-----") == pem.count("-----") / 4 == 1
    assert thumbprint == b64(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest())


def run_xfcc(data: bytes) -> None:
    """What has a thumbprint is one element with one hash, whoever splits it."""
    header = data.decode("latin-1")
    thumbprint = forwarded_thumbprint(header)
    if thumbprint is None:
        return
    bare = _QUOTED.sub('""', header)
    assert "," not in bare
    pairs = [pair.partition("=") for pair in bare.split(";") if pair]
    assert [name.lower() for name, _, _ in pairs].count("hash") == 1
    found = re.findall(r'(?:^|;)[Hh][Aa][Ss][Hh]="?([0-9a-f]{64})"?(?:;|$)', header)
    assert thumbprint in [base64.urlsafe_b64encode(bytes.fromhex(text)).decode().rstrip("=") for text in found]


_PLACES = ("extauthz/tokens/certificates.py",)
PROOF = Target(
    "proof",
    run_proof,
    ("extauthz/tokens/dpop.py", "extauthz/tokens/target.py"),
    (
        b"\n",
        b'"jwk":KEY',
        b'"jwk":{"kty":"EC"}',
        b'"typ":"dpop+jwt"',
        b'"alg":"ES256"',
        b'"alg":"none"',
        b'"d":"AA"',
        b'"htm":"post"',
        b'"htu":"https://pay.example.test:443/%761/payments?a#b"',
        b"HTTPS://PAY.example.test",
        b"https://pay.example.test\\@",
        b":0443",
        b"%2F",
        b"/../",
        b'"iat":1699999939',
        b'"iat":1700000010.5',
        b'"iat":1e400',
        b'"jti":""',
        b'"ath":""',
        b"\\ud800",
        b'"nonce":1',
    ),
    1500,
)
CERTIFICATE = Target(
    "certificate",
    run_certificate,
    _PLACES,
    (b"-----BEGIN%20CERTIFICATE-----%0A", b"-----END%20CERTIFICATE-----", b"%0A", b"%00", b"+", b"%2B", b"%", b"=="),
    3000,
)
XFCC = Target(
    "xfcc",
    run_xfcc,
    _PLACES,
    (b"Hash=" + b"a" * 64, b"hash=", b'Subject="', b'\\"', b'"', b",", b";", b"By=spiffe://x", b"URI=", b"DNS=", b"="),
    600,
)
