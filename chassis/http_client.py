"""The one HTTP client: bounded GETs to addresses that the policy names.

It follows no redirect, knows no proxy and no cookie, decompresses nothing, and by default speaks
only https to addresses of the public internet (rfc8725bis section 3.10: a document must not be
able to send us to a loopback service).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_CHUNK_BYTES = 16 * 1024
_USER_AGENT = "tollhouse"
_MAX_CONNECTIONS = 16


class FetchFailed(Exception):  # noqa: N818 - says what happened, like StoreUnavailable
    """No usable reply.

    Attributes:
        reason: One of a few fixed texts, never a part of the reply.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete reply.

    Attributes:
        status: HTTP status code; redirects arrive here as they are.
        headers: Lower-case names; of repeated headers the last one.
        body: At most `max_bytes` long.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_loopback_host(host: str) -> bool:
    """Tell whether `host` names this machine: a loopback literal, localhost or *.localhost (RFC 6761 section 6.3)."""
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_private_address(host) and ip_address(host).is_loopback


def is_private_address(host: str) -> bool:
    """Tell whether `host` is an address literal that is not of the public internet; a name is not."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    # A mapped or translated IPv4 address reaches the same host as the address inside it.
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return not (inner or address).is_global or address.is_multicast


class HttpClient:
    """GETs with a size cap and a total time-out; made outside a loop, used inside one."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def get(self, url: str, *, max_bytes: int, timeout_seconds: float, allow_http: bool = False) -> HttpReply:
        """Fetch `url`.

        Args:
            url: Absolute; https, or http to this machine's loopback when `allow_http`.
            max_bytes: Longest body that is read.
            timeout_seconds: For everything: name, connection, TLS and body.
            allow_http: Permit http to loopback, and names that resolve to private addresses.

        Raises:
            FetchFailed: Refused address, no connection, time-out, or a body beyond the cap.
        """
        _check_url(url, allow_http=allow_http)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._fetch(url, max_bytes, allow_http=allow_http)
        except TimeoutError:
            reason = "timed out"
        except _AddressRefused:
            reason = "private address refused"
        except aiohttp.ClientError as error:
            reason = "private address refused" if _is_refused(error) else f"no reply ({type(error).__name__})"
        except (OSError, ValueError) as error:
            reason = f"no reply ({type(error).__name__})"
        raise FetchFailed(reason)

    async def _fetch(self, url: str, max_bytes: int, *, allow_http: bool) -> HttpReply:
        session = self._session(allow_http)
        async with session.get(url, allow_redirects=False) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise FetchFailed("compressed reply refused")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise FetchFailed("reply too long")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, headers, bytes(body))

    def _session(self, allow_private: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(allow_private)
        if session is None:
            resolver = _LocalResolver() if allow_private else _PublicResolver()
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, limit=_MAX_CONNECTIONS, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": _USER_AGENT, "accept": "application/json", "accept-encoding": "identity"},
                trust_env=False,
                auto_decompress=False,
            )
            self._sessions[allow_private] = session
        return session

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def stop(self) -> None:
        """Close every connection; the client can be used again afterwards."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


class _AddressRefused(OSError):  # noqa: N818 - says what happened, like FetchFailed
    """A name resolved to an address that is not of the public internet."""


def _is_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AddressRefused):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _check_url(url: str, *, allow_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FetchFailed("not a URL") from None
    if not host or parts.username is not None or parts.password is not None:
        raise FetchFailed("not a URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http and is_loopback_host(host)):
        raise FetchFailed("not https")


class _PublicResolver(AbstractResolver):
    """Resolves names, and refuses a name when any of its addresses is not public.

    aiohttp does not ask a resolver for address literals, so an address that the policy itself
    spells out is reached.
    """

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if any(is_private_address(entry["host"].partition("%")[0]) for entry in found):
            raise _AddressRefused("private address")
        return found

    async def close(self) -> None:
        await self._inner.close()


class _LocalResolver(AbstractResolver):
    """Resolves names; *.localhost is this machine even where the system does not know it."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            return await self._inner.resolve(host, port, family)
        except OSError:
            if not host.endswith(".localhost"):
                raise
        return await self._inner.resolve("127.0.0.1", port, socket.AF_INET)

    async def close(self) -> None:
        await self._inner.close()
