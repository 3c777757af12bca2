"""Who may read the admin pages: on loopback whoever names it, elsewhere whoever shows the operator's token.

Middlewares of `admin.AdminServer`. Its law: `/healthz` and `/readyz` alone are open, because probes carry no token;
a token file that cannot be read lets nobody in.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from chassis.secret_file import SecretInvalid, exposure_warnings, read_one_line

MIN_TOKEN_CHARACTERS: Final = 32
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_OPEN_PAGES: Final = frozenset({"/healthz", "/readyz"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")  # b64token of RFC 6750 section 2.1
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AdminToken:
    """The token of a file, read anew for each request: a new one needs no restart."""

    path: str

    def read(self) -> bytes:
        """Return the token.

        Raises:
            SecretInvalid: The file cannot be read, or holds no token of at least `MIN_TOKEN_CHARACTERS`.
        """
        token = read_one_line(self.path)
        if len(token) < MIN_TOKEN_CHARACTERS or not _TOKEN.match(token):
            raise SecretInvalid(
                (f"{self.path}: must hold one token of {MIN_TOKEN_CHARACTERS} or more letters, digits or ._~+/-",)
            )
        return token.encode("ascii")

    def admits(self, authorization: str) -> bool:
        """Tell whether an Authorization header carries the token; the time taken does not tell how much fits."""
        scheme, _, shown = authorization.partition(" ")
        try:
            token = self.read()
        except SecretInvalid:
            return False
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token)

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the file; it may have changed since the start."""
        try:
            self.read()
        except SecretInvalid as error:
            return tuple(f"nobody is let in to the other admin pages: {problem}" for problem in error.problems)
        return exposure_warnings(self.path)

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer 401 to whoever does not show the token, whatever the page; probes pass."""
        if request.path in _OPEN_PAGES or self.admits(request.headers.get("Authorization", "")):
            return await handler(request)
        challenge = {**HEADERS, "WWW-Authenticate": 'Bearer realm="tollhouse admin"'}
        return web.Response(status=401, text="these pages ask for the admin token\n", headers=challenge)


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """How the pages are reached.

    Attributes:
        token: What they ask for; None: nothing, on loopback alone.
        tls: Server context; None: plain HTTP.
    """

    token: AdminToken | None = None
    tls: ssl.SSLContext | None = None


@web.middleware
async def only_local_names(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse a Host that is not loopback: a web page could have its own name resolve to 127.0.0.1."""
    if not _is_local_name(request.host):
        return web.Response(status=421, text="ask for localhost or a loopback address\n", headers=HEADERS)
    return await handler(request)


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
