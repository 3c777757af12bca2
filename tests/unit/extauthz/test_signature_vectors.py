"""Published test vectors: RFC 9421 appendix B, RFC 9530 appendix D; and what our base is made of."""

from __future__ import annotations

from base64 import b64decode

import pytest

from extauthz.model import AuthzRequest
from extauthz.signatures.base import Fault, signature_base
from extauthz.signatures.digest import digest_fault
from extauthz.signatures.fields import SignedInput, read_signature
from extauthz.tokens.keys import VerificationKey, read_key
from extauthz.tokens.verify import is_signature_valid

BODY = b'{"hello": "world"}'
SHA_256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
SHA_512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA",
    "y": "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0",
}
HEADERS = {
    "host": "example.com",
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "content-digest": SHA_512,
    "content-length": "18",
}
REQUEST = AuthzRequest(
    method="POST",
    scheme="https",
    host="example.com",
    path="/foo?param=Value&Pet=dog",
    headers=HEADERS,
    body=BODY,
    body_is_partial=False,
    peer_ip="",
    time=0.0,
    request_id="",
)
B26 = {
    "signature-input": (
        'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    ),
    "signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
}
B26_BASE = """\
"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length")\
;created=1618884473;keyid="test-key-ed25519\""""
B24_BASE = """\
"@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473\
;keyid="test-key-ecc-p256\""""
B24_SIGNATURE = "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="


def key(jwk: dict[str, str]) -> VerificationKey:
    read = read_key(jwk)
    assert isinstance(read, VerificationKey)
    return read


def base_of(request: AuthzRequest, *names: str) -> str:
    built = signature_base(request, names, "()")
    assert isinstance(built, bytes)
    return built.decode().rpartition("\n")[0]


def test_ed25519_request_of_rfc_9421_b_2_6():
    signed = read_signature({**HEADERS, **B26}, label=None, tag=None)
    assert isinstance(signed, SignedInput)
    base = signature_base(REQUEST, signed.components, signed.parameters_line)
    assert base == B26_BASE.encode()
    public = key(ED25519).public_key
    assert is_signature_valid("EdDSA", public, base, signed.signature)
    assert not is_signature_valid("EdDSA", public, base.replace(b"POST", b"PUT"), signed.signature)


def test_ecdsa_signature_of_rfc_9421_b_2_4_is_r_and_s_side_by_side():
    public, signature = key(P256).public_key, b64decode(B24_SIGNATURE)
    assert is_signature_valid("ES256", public, B24_BASE.encode(), signature)
    assert not is_signature_valid("ES256", public, B24_BASE.replace("200", "201").encode(), signature)


@pytest.mark.parametrize("field", [SHA_256, SHA_512, f"{SHA_256}, {SHA_512}"])
def test_digests_of_the_rfcs(field):
    assert digest_fault(field, BODY) is None
    assert isinstance(digest_fault(field, BODY + b"\n"), Fault)


def test_derived_components_of_rfc_9421_section_2_2():
    lines = base_of(REQUEST, "@method", "@authority", "@scheme", "@target-uri", "@path", "@query").split("\n")
    assert lines == [
        '"@method": POST',
        '"@authority": example.com',
        '"@scheme": https',
        '"@target-uri": https://example.com/foo?param=Value&Pet=dog',
        '"@path": /foo',
        '"@query": ?param=Value&Pet=dog',
    ]
    assert base_of(REQUEST._replace(path="/foo"), "@query") == '"@query": ?'
    assert base_of(REQUEST._replace(path="/foo?"), "@target-uri") == '"@target-uri": https://example.com/foo?'


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("https", "EXAMPLE.com", "example.com"),
        ("https", "example.com:443", "example.com"),
        ("http", "example.com:80", "example.com"),
        ("https", "example.com:80", "example.com:80"),
        ("https", "example.com:8443", "example.com:8443"),
        ("https", "example.com.", "example.com."),
        ("https", "[::1]:443", "[::1]"),
        ("https", "[::443]", "[::443]"),
    ],
)
def test_authority_is_lower_case_without_the_port_of_its_scheme(scheme, host, expected):
    assert base_of(REQUEST._replace(scheme=scheme, host=host), "@authority") == f'"@authority": {expected}'


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        ("a", True),
        ("a, b", True),
        ("a,\tb", True),
        ("", True),
        ("a,b", False),
        (",b", False),
        ("a,", False),
        ("é", False),
        ("a\nb", False),
        ("a\x00", False),
    ],
)
def test_covered_header_has_one_reading(value, is_taken):
    built = signature_base(REQUEST._replace(headers={"x": value}), ("x",), "()")
    assert isinstance(built, bytes) is is_taken


@pytest.mark.parametrize("name", ["absent", "Date", "@status", "@request-target", "@query-param", "@other", "", 'a"'])
def test_component_that_has_no_value_here_is_refused(name):
    assert isinstance(signature_base(REQUEST, (name,), "()"), Fault)


def test_path_cannot_write_lines_of_its_own():
    assert isinstance(signature_base(REQUEST._replace(path='/foo\n"@method": GET'), ("@path",), "()"), Fault)
