"""A raw request path is canonicalised once, or refused; nothing else may look at the raw text.

A gate and an upstream that read one path in two ways are a hole. What can be read in two ways is
refused: an escaped slash, backslash, dot segment, control character or percent sign, a doubled slash,
path parameters after `;`. RFC 3986 sections 2.3, 3.3 and 6.2.2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_PATH_LENGTH: Final = 2048
MAX_SEGMENTS: Final = 32

_PLAIN = re.compile(r"(/[A-Za-z0-9_~\-]+)+\Z")
_SEGMENT = re.compile(r"(?:[A-Za-z0-9_.~\-!$&'()*+,=:@]|%[0-9A-Fa-f]{2})+\Z")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_AMBIGUOUS: Final = frozenset(b"/\\%;?#") | frozenset(range(0x20)) | {0x7F}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::[0-9]{1,5})?\Z")


class _Ambiguous(Exception):  # noqa: N818 - says what the escape is
    """An escape whose decoding would change the structure of the path."""


def canonical_path(raw: str) -> str | None:
    """Return the path without query, unreserved escapes decoded, or None when it must be refused."""
    path, _, _ = raw.partition("?")
    if len(path) > MAX_PATH_LENGTH:
        return None
    if _PLAIN.match(path) or path == "/":
        return path if path.count("/") <= MAX_SEGMENTS else None
    if not path.startswith("/"):
        return None
    segments = path[1:].split("/")
    if len(segments) > MAX_SEGMENTS:
        return None
    try:
        decoded = [_decode(segment) for segment in segments[:-1]]
        # An empty last segment is a trailing slash: another path, but not an ambiguous one.
        decoded.append(_decode(segments[-1]) if segments[-1] else "")
    except _Ambiguous:
        return None
    return "/" + "/".join(decoded)


def _decode(segment: str) -> str:
    if not _SEGMENT.match(segment):
        raise _Ambiguous
    decoded = _ESCAPE.sub(_decode_escape, segment)
    if decoded in (".", ".."):
        raise _Ambiguous
    return decoded


def _decode_escape(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    if byte in _AMBIGUOUS:
        raise _Ambiguous
    return chr(byte) if byte in _UNRESERVED else match[0].upper()


@lru_cache(maxsize=64)
def canonical_host(raw: str) -> str | None:
    """Return `:authority` in lower case, without port and trailing dot, or None when it is no host."""
    if not raw.isascii():
        return None  # the Kelvin sign is a small k once it is lowered, and no other reader need think so
    host = raw.lower()
    match = _HOST.match(host)
    if match is None:
        # "example.com." and "example.com.:8080" name the same host as without the dot.
        match = _HOST.match(re.sub(r"\.(?=:|$)", "", host, count=1))
    return match[1] if match else None
