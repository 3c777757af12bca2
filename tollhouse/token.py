"""Fetch an access token from the development issuer, for `tollhouse token` and the samples."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Final

from tollhouse.issuer import CLIENT_SECRET, DEFAULT_PORT

DEFAULT_ISSUER: Final = f"http://127.0.0.1:{DEFAULT_PORT}"
_TIMEOUT_SECONDS: Final = 5.0


class TokenRefused(Exception):  # noqa: N818 - the word a person reads
    """The issuer is away or gives no token; the text says which, for a person."""


def fetch_token(issuer: str = DEFAULT_ISSUER, *, merchant: str = "m_active", scope: str | None = None) -> str:
    """Return a fresh access token (RFC 6749 section 4.4.2).

    Args:
        issuer: The issuer's URL; http on loopback.
        merchant: A client of the development issuer; each sample merchant has one of its own name.
        scope: Space-separated scopes, or None for all that there are.

    Raises:
        TokenRefused: If the issuer cannot be reached or refuses.
    """
    if not issuer.startswith(("http://", "https://")):
        raise TokenRefused(f"{issuer} is not an http URL")
    form = {"grant_type": "client_credentials", "client_id": merchant, "client_secret": CLIENT_SECRET}
    if scope is not None:
        form["scope"] = scope
    body = urllib.parse.urlencode(form).encode()
    try:
        request = urllib.request.Request(f"{issuer}/token", data=body)  # noqa: S310 - the scheme was checked
    except ValueError:
        raise TokenRefused(f"{issuer} is not an http URL") from None
    # No proxy: the issuer is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return str(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        with error:
            raise TokenRefused(f"{issuer} refused: {_error_code(error.read())}; is {merchant} a client?") from None
    except (OSError, ValueError, KeyError):
        raise TokenRefused(f"no token from {issuer}; is the issuer running (tollhouse up)?") from None


def _error_code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"
