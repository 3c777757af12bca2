"""Oracle of the reader of message signatures: a second implementation builds the text that was signed."""

from __future__ import annotations

import hashlib
import re
import warnings
from typing import Any

import http_sf
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, algorithms

from extauthz.signatures.base import Fault, signature_base
from extauthz.signatures.digest import digest_fault
from extauthz.signatures.fields import read_signature
from helpers.fuzzing.engine import Target
from helpers.requests import authz_request
from helpers.signing import Message

BODY = b'{"hello": "world"}'
_NAME = re.compile(r'"([a-z0-9@!#$%&\'*+.^_`|~-]+)": ')


class _Captured(algorithms.ECDSA_P256_SHA256):
    """Takes every signature and keeps what it was made over."""

    text: bytes | None = None

    def __init__(self, **_: Any) -> None:
        """Take no key."""

    def verify(self, signature: bytes, message: bytes) -> None:
        """Keep the text."""
        type(self).text = message


class _AnyKey:
    def resolve_public_key(self, _: str) -> Any:
        return object()

    def resolve_private_key(self, _: str) -> Any:
        raise AssertionError("nothing is signed here")


class _Verifier(HTTPMessageVerifier):
    require_created = False
    allow_label_only_selection = True


def _other_text(message: Message) -> bytes | None:
    _Captured.text = None
    verifier = _Verifier(signature_algorithm=_Captured, key_resolver=_AnyKey())
    try:
        with warnings.catch_warnings(action="ignore"):
            verifier.verify(message, max_age=None, expect_label="sig1")
    except InvalidSignature:
        return None
    return _Captured.text


def run_signature(data: bytes) -> None:
    """Two lines, Signature-Input and Content-Digest. What is read has one text, and both implementations build it."""
    text, _, digest = data.decode("latin-1").partition("\n")
    headers = {
        "content-type": "application/json",
        "content-digest": digest,
        "authorization": "Bearer a.b.c",
        "signature-input": text,
        "signature": "sig1=:AAAA:",
    }
    request = authz_request(headers=headers, body=BODY, path="/v1/payments?a=b")
    if digest_fault(digest, BODY) is None:
        members = http_sf.parse(digest.encode(), tltype="dictionary")
        assert isinstance(members, dict)
        known = {name: hashlib.new(name.replace("-", ""), BODY).digest() for name in ("sha-256", "sha-512")}
        assert any(name in members for name in known)
        assert all(members[name] == (value, {}) for name, value in known.items() if name in members)
    signed = read_signature(headers, label="sig1", tag=None)
    if signed is None or isinstance(signed, Fault):
        return
    base = signature_base(request, signed.components, signed.parameters_line)
    if isinstance(base, Fault):
        return
    lines = base.decode("ascii").split("\n")
    names = [found[1] for line in lines if (found := _NAME.match(line))]
    assert names == [*signed.components, "@signature-params"]
    assert len(lines) == len(names) == len(set(names))
    other = _other_text(Message("POST", "https://pay.example.test/v1/payments?a=b", headers))
    assert other in (None, base)


SIGNATURE = Target(
    "signature",
    run_signature,
    ("extauthz/signatures/fields.py", "extauthz/signatures/base.py", "extauthz/signatures/digest.py"),
    (
        b'sig1=("@method" "@target-uri" "authorization" "content-digest")',
        b';keyid="k"',
        b";created=1618884473",
        b';nonce="n"',
        b";created=@1",
        b';tag="a"',
        b' "@query"',
        b' "@path"',
        b';name="a"',
        b";sf",
        b"sig1=",
        b", ",
        b"\n",
        b'"',
        b"\\",
        b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        b":AAAA:",
        b'%"%e4"',
        b"1.5",
        b"?1",
    ),
    1200,
)
