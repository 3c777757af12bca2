"""Oracles of the token readers: PyJWT's own parser, and the query and form readers of the standard library."""

from __future__ import annotations

import base64
import json
import warnings
from urllib.parse import parse_qsl

from jwt.api_jws import PyJWS

from extauthz.model import Deny
from extauthz.tokens.jose import CompactToken, parse_compact
from extauthz.tokens.presentation import MAX_TOKEN_CHARACTERS, presented_token
from helpers.fuzzing.engine import Target
from helpers.requests import authz_request

_REFERENCE = PyJWS()


def run_token(data: bytes) -> None:
    """Nothing is read that PyJWT refuses, everything is read as PyJWT does, and one text has one reading."""
    text = data.decode("utf-8", "surrogateescape")
    token = parse_compact(text)
    if isinstance(token, Deny):
        return
    assert isinstance(token, CompactToken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        complete = _REFERENCE.decode_complete(text, options={"verify_signature": False})
    assert complete["signature"] == token.signature
    assert json.loads(complete["payload"]) == json.loads(json.dumps(dict(token.claims), default=float))
    header = complete["header"]
    assert (header["alg"], header["typ"].lower(), header.get("kid")) == (token.algorithm, token.token_type, token.kid)
    assert not {"crit", "b64", "zip", "enc", "cty"} & set(header)
    parts = text.split(".")
    assert token.signing_input == ".".join(parts[:2]).encode()
    for part in parts:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        assert base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == part, "two texts for one token"


def run_presentation(data: bytes) -> None:
    """Four lines: authorization, path, content-type, body. A token is found in the header alone."""
    authorization, path, content_type, body = [*data.split(b"\n", 3), b"", b"", b""][:4]
    headers = {"authorization": authorization.decode("latin-1"), "content-type": content_type.decode("latin-1")}
    request = authz_request(headers=headers, path=path.decode("latin-1"), body=body)
    token = presented_token(request)
    if isinstance(token, Deny):
        return
    assert token
    assert len(token) <= MAX_TOKEN_CHARACTERS
    assert not set(token) & set(" \t\r\n,\"'\\")
    assert token.isascii()
    scheme, _, rest = headers["authorization"].strip(" \t").partition(" ")
    assert scheme.lower() == "bearer"
    assert rest.strip() == token
    query = request.path.partition("?")[2]
    assert not _has_token(query), "a second token in the query"
    if content_type.strip().lower().startswith(b"application/x-www-form-urlencoded"):
        assert not _has_token(body.decode("latin-1")), "a second token in the body"


def _has_token(text: str) -> bool:
    return any(name == "access_token" for name, _ in parse_qsl(text, keep_blank_values=True))


def encoded(header: object, claims: object, signature: bytes = b"signature") -> bytes:
    """Return a compact token of any header and claims."""
    parts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in (header, claims)]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, signature))


def run_token_parts(data: bytes) -> None:
    """Two lines, header and claims before base64, as one token; a text with more dots is read as it is."""
    header, newline, claims = data.partition(b"\n")
    run_token(encoded(header, claims) if newline else data)


TOKEN = Target(
    "token",
    run_token_parts,
    ("extauthz/tokens/jose.py", "chassis/strict_json.py"),
    (
        b".",
        b"=",
        b"e30",
        b"e30.e30.",
        b"{",
        b"}",
        b'"alg":"RS256"',
        b'"alg":"none"',
        b'"typ":"at+jwt"',
        b'"kid":"k"',
        b'"crit":["b64"]',
        b'"b64":false',
        b'"zip":"DEF"',
        b'"enc":1',
        b'"cty":"JWT"',
        b'"kid":""',
        b'"kid":null',
        b"\n",
        b'"exp":1e400',
        b'"exp":1.5',
        b"NaN",
        b"\\ud800",
        b'"alg":1',
        b'"typ":{}',
    ),
    1200,
)
PRESENTATION = Target(
    "presentation",
    run_presentation,
    ("extauthz/tokens/presentation.py",),
    (
        b"Bearer ",
        b"bearer\t",
        b"DPoP ",
        b"Basic ",
        b",",
        b"\n",
        b"access_token=x",
        b"access%5Ftoken=",
        b"%61ccess_token",
        b"access_token",
        b"+",
        b";",
        b"&",
        b"?",
        b"#",
        b"application/x-www-form-urlencoded",
        b"\xa0",
        b"\x0b",
        b"a" * 64,
    ),
    600,
)
