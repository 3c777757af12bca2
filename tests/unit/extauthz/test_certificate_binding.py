"""Thumbprints of client certificates, and whom a forwarded one is believed from (RFC 8705)."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from extauthz.tokens.certificates import (
    MAX_CERTIFICATE_CHARACTERS,
    MAX_XFCC_CHARACTERS,
    CertificateSource,
    forwarded_thumbprint,
    peer_thumbprint,
)
from helpers.certificates import authority, client_pair
from helpers.issuer import b64
from helpers.requests import authz_request

PEM = client_pair(authority()).certificate
LEAF = x509.load_pem_x509_certificates(PEM)[0]
ONE = LEAF.public_bytes(Encoding.PEM).decode()
THUMBPRINT = b64(hashlib.sha256(LEAF.public_bytes(Encoding.DER)).digest())
HEX = hashlib.sha256(LEAF.public_bytes(Encoding.DER)).hexdigest()
EDGE = "spiffe://edge.example/envoy"


def test_certificate_as_envoy_sends_it():
    assert peer_thumbprint(quote(ONE, safe="")) == THUMBPRINT
    assert peer_thumbprint(quote(ONE, safe="+/=")) == THUMBPRINT  # a plus sign is no blank


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "%00",
        "-----BEGIN%20CERTIFICATE-----",
        quote(ONE + ONE),
        quote(ONE[:200]),
        "x" * MAX_CERTIFICATE_CHARACTERS,
        quote(ONE) + "x" * MAX_CERTIFICATE_CHARACTERS,
    ],
)
def test_what_is_not_one_certificate_has_no_thumbprint(text):
    assert peer_thumbprint(text) is None


def test_example_of_envoys_documentation():
    text = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"
    assert (
        forwarded_thumbprint(f'By=spiffe://a;Hash={text};Subject=""') == "Ro7TO-dO7mVW2QwBScEwnpumHWQlMDRDwHSKAt2N5og"
    )


@pytest.mark.parametrize(
    "header",
    [
        f"Hash={HEX}",
        f'Hash={HEX};Subject="CN=a,O=b;c"',
        f'By=spiffe://gate;Hash={HEX};Subject="CN=\\"x\\", Hash={"0" * 64}";URI=spiffe://shop;DNS=a;DNS=b',
        f'hash="{HEX}"',
    ],
)
def test_one_element_names_its_certificate(header):
    assert forwarded_thumbprint(header) == THUMBPRINT


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Hash=",
        "Hash",
        f"Hash={HEX[:-2]}",
        f"Hash={HEX.upper()}",
        f"Hash={HEX};Hash={HEX}",
        f"Hash={HEX};Hash={'0' * 64}",
        f"Hash={HEX},Hash={HEX}",
        f"Hash={'0' * 64},Hash={HEX}",
        f"Hash={'0' * 64};URI=spiffe://a,By=x;Hash={HEX}",
        f'Hash={HEX};Subject="open',
        f'Subject="a"x;Hash={HEX}',
        f"={HEX}",
        f"Hash={HEX};" + "URI=" + "x" * MAX_XFCC_CHARACTERS,
    ],
)
def test_anything_but_one_element_with_one_hash_names_none(header):
    assert forwarded_thumbprint(header) is None


def test_connection_counts_and_a_header_does_not():
    source = CertificateSource()
    own = authz_request(peer_certificate=quote(ONE), peer_principal=EDGE)
    forged = authz_request(headers={"x-forwarded-client-cert": f"Hash={HEX}"}, peer_principal=EDGE)
    assert source.thumbprint(own) == THUMBPRINT
    assert source.thumbprint(forged) is None


@pytest.mark.parametrize("principal", ["", "spiffe://edge.example/envoy2", "spiffe://EDGE.example/envoy", "*"])
def test_header_counts_from_the_trusted_hop_alone(principal):
    source = CertificateSource(EDGE)
    headers = {"x-forwarded-client-cert": f"Hash={HEX}"}
    assert source.thumbprint(authz_request(headers=headers, peer_principal=EDGE)) == THUMBPRINT
    assert source.thumbprint(authz_request(headers=headers, peer_principal=principal)) is None
    # The hop's own certificate is not its client's.
    assert source.thumbprint(authz_request(peer_principal=EDGE, peer_certificate=quote(ONE))) is None
