"""The address that a DPoP proof was made for, against the one that was asked (RFC 9449 section 4.3, points 8 and 9)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from extauthz.model import AuthzRequest
from extauthz.paths import canonical_host, canonical_path

MAX_HTU_CHARACTERS: Final = 4096
_VISIBLE: Final = re.compile(r"[!-~]+\Z")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_Address = tuple[str, str, int, str]


def is_target(htu: str, request: AuthzRequest) -> bool:
    """Tell whether `htu` names the address of this request as the client saw it.

    Query and fragment do not count. Both sides are normalised (RFC 3986 sections 6.2.2 and 6.2.3): letter case of
    scheme and host, default port, escapes of unreserved characters, empty path. What has two readings names nothing.
    """
    asked = _address(request.scheme, request.host, request.path)
    return asked is not None and _read_uri(htu) == asked


def _read_uri(text: str) -> _Address | None:
    if len(text) > MAX_HTU_CHARACTERS or not _VISIBLE.match(text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return _address(parts.scheme, parts.netloc, parts.path or "/")


def _address(scheme: str, authority: str, raw_path: str) -> _Address | None:
    scheme = scheme.lower()
    default = _DEFAULT_PORTS.get(scheme)
    host, path = canonical_host(authority), canonical_path(raw_path)
    if default is None or host is None or path is None:
        return None
    _, _, port = authority.removeprefix("[").rpartition("]")[2].partition(":")
    return scheme, host, int(port) if port else default, path
