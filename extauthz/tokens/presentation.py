"""Where an access token may stand in a request: one Authorization header and nowhere else.

RFC 6750 section 2 allows one method a request; FAPI 2.0 section 5.3.4 leaves only the header.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from extauthz.challenges import DPOP_SCHEME
from extauthz.model import AuthzRequest, Deny
from extauthz.tokens import refusals

MAX_TOKEN_CHARACTERS = 8192
MAX_FORM_BYTES = 65_536
"""Longest form that is looked through for a token before anybody is authenticated."""

_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
_PARAMETER = "access_token"
_FORM = "application/x-www-form-urlencoded"


def presented_token(request: AuthzRequest, *, takes_dpop: bool = False) -> str | Deny:
    """Return the access token as sent, not looked into yet.

    A comma refuses the request: Envoy joins repeated headers with one, and no token68 holds one.
    Any scheme but Bearer, and DPoP where it is taken (RFC 9449 section 7.1), counts as no credentials.
    """
    if _is_in_query(request.path):
        return refusals.presentation("access_token in the query")
    fault = _form_fault(request)
    if fault:
        return refusals.presentation(fault)
    value = request.headers.get("authorization", "").strip(" \t")
    if "," in value:
        return refusals.presentation("repeated authorization header")
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" and not (takes_dpop and scheme.lower() == DPOP_SCHEME):
        return refusals.missing()
    return _checked(token.lstrip(" "))


def _checked(token: str) -> str | Deny:
    if not token:
        return refusals.presentation("no token after the scheme")
    if len(token) > MAX_TOKEN_CHARACTERS:
        return refusals.invalid("token too long")
    if " " in token or "\t" in token:
        return refusals.presentation("more than a token after the scheme")
    if not _B64TOKEN.match(token):
        return refusals.invalid("not a b64token")
    return token


def _is_in_query(path: str) -> bool:
    _, found, query = path.partition("?")
    return bool(found) and any(_names_token(pair) for pair in re.split("[&;]", query))


def _form_fault(request: AuthzRequest) -> str:
    """Look for a token in a form (RFC 6750 section 2.2); any other body is none of this step's business.

    A form of which the end is not seen, or that is too long to look through, may hold one.
    """
    if not request.headers.get("content-type", "").lower().lstrip().startswith(_FORM):
        return ""
    if request.body_is_partial or len(request.body) > MAX_FORM_BYTES:
        return "a form that is too long to look through"
    if b"access" not in request.body and b"%" not in request.body:
        return ""
    pairs = re.split(b"[&;]", request.body)
    return "access_token in the body" if any(_names_token(pair.decode("latin-1")) for pair in pairs) else ""


def _names_token(pair: str) -> bool:
    # Decoded, because the upstream decodes too: access%5Ftoken is the same parameter.
    name = pair.partition("=")[0]
    return name == _PARAMETER or ("%" in name and unquote_plus(name, errors="replace") == _PARAMETER)
