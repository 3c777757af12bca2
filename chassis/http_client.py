"""The one HTTP client: bounded GETs and form POSTs to addresses that the policy names.

It follows no redirect, knows no proxy and no cookie, decompresses nothing, and by default speaks
only https to addresses of the public internet (chassis/reach.py). A name is refused as a whole when one of
its addresses is, and each socket is checked once more by the address it is about to connect to: whatever a
library reads a host's spelling as, and whatever a name server answers the second time, that is what counts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from chassis.name_lookup import NameLookup
from chassis.reach import Reach, is_loopback_host, kind_of, may_connect

_CHUNK_BYTES = 16 * 1024
_HEADERS = {
    "user-agent": "tollhouse",
    "accept": "application/json, application/jwk-set+json",
    "accept-encoding": "identity",
}
_ADDRESS_REFUSED = "address refused"
_MAX_CONNECTIONS = 128
"""Above the number of token issuers of a policy set, so that those that hang leave room for the others."""


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


@dataclass(frozen=True, slots=True)
class FormPost:
    """What a POST sends.

    Attributes:
        fields: `application/x-www-form-urlencoded`, never in a repr: they may be secret.
        headers: Besides the client's own, never in a repr.
        tls: Client certificate and trust, for a server that knows its callers by it; None for the usual trust.
    """

    fields: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext | None = None


class HttpClient:
    """GETs and POSTs with a size cap and a total time-out; made outside a loop, used inside one."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[Reach, bool], aiohttp.ClientSession] = {}

    async def get(self, url: str, *, max_bytes: int, timeout_seconds: float, reach: Reach = Reach.PUBLIC) -> HttpReply:
        """Fetch `url`.

        Args:
            url: Absolute; https, or http to this machine's loopback where `reach` permits that.
            max_bytes: Longest body that is read.
            timeout_seconds: For everything: name, connection, TLS and body.
            reach: Which addresses besides those of the public internet may be connected to.

        Raises:
            FetchFailed: Refused address, no connection, time-out, or a body beyond the cap.
        """
        return await self._send(url, None, (max_bytes, timeout_seconds, reach))

    async def post(
        self, url: str, form: FormPost, *, max_bytes: int, timeout_seconds: float, reach: Reach = Reach.PUBLIC
    ) -> HttpReply:
        """Send a form; the other parameters, and what is raised, are those of `get`."""
        return await self._send(url, form, (max_bytes, timeout_seconds, reach))

    async def _send(self, url: str, form: FormPost | None, bounds: tuple[int, float, Reach]) -> HttpReply:
        max_bytes, timeout_seconds, reach = bounds
        is_encrypted = _check_url(url, reach)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._fetch(self._session(reach, is_encrypted=is_encrypted), url, form, max_bytes)
        except TimeoutError:
            reason = "timed out"
        except _AddressRefused:
            reason = _ADDRESS_REFUSED
        except aiohttp.ClientError as error:
            reason = _ADDRESS_REFUSED if _is_refused(error) else f"no reply ({type(error).__name__})"
        except (OSError, ValueError) as error:
            reason = f"no reply ({type(error).__name__})"
        raise FetchFailed(reason)

    async def _fetch(
        self, session: aiohttp.ClientSession, url: str, form: FormPost | None, max_bytes: int
    ) -> HttpReply:
        async with _request(session, url, form) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise FetchFailed("compressed reply refused")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise FetchFailed("reply too long")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, headers, bytes(body))

    def _session(self, reach: Reach, *, is_encrypted: bool) -> aiohttp.ClientSession:
        session = self._sessions.get((reach, is_encrypted))
        if session is None:
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(reach, is_encrypted=is_encrypted),
                socket_factory=partial(open_socket, reach, is_encrypted),
                limit=_MAX_CONNECTIONS,
                force_close=True,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                trust_env=False,
                auto_decompress=False,
            )
            self._sessions[(reach, is_encrypted)] = session
        return session

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def stop(self) -> None:
        """Close every connection; the client can be used again afterwards."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


def _request(session: aiohttp.ClientSession, url: str, form: FormPost | None) -> aiohttp.client._RequestContextManager:
    if form is None:
        return session.get(url, allow_redirects=False)
    trust = True if form.tls is None else form.tls
    return session.post(url, data=form.fields, headers=form.headers, ssl=trust, allow_redirects=False)


class _AddressRefused(OSError):  # noqa: N818 - says what happened, like FetchFailed
    """A name resolved to an address that may not be reached."""


def _is_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AddressRefused):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _check_url(url: str, reach: Reach) -> bool:
    """Return whether the URL speaks TLS; raises FetchFailed when it must not be fetched."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FetchFailed("not a URL") from None
    if not host or not host.isascii() or parts.username is not None or parts.password is not None:
        raise FetchFailed("not a URL")
    is_encrypted = parts.scheme == "https"
    if not is_encrypted and not (parts.scheme == "http" and Reach.LOOPBACK in reach and is_loopback_host(host)):
        raise FetchFailed("not https")
    # aiohttp does not ask its resolver for literals.
    kind = kind_of(host)
    if kind is not None and not may_connect(kind, reach, is_encrypted=is_encrypted):
        raise FetchFailed(_ADDRESS_REFUSED)
    return is_encrypted


def open_socket(reach: Reach, is_encrypted: bool, address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket for an address that may be reached; raises OSError for any other."""
    family, kind, protocol, _, place = address
    if not may_connect(kind_of(str(place[0])), reach, is_encrypted=is_encrypted):
        raise _AddressRefused(_ADDRESS_REFUSED)
    return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses a name when any of its addresses may not be reached.

    Names of this machine (*.localhost) work where `reach` permits loopback, even if the system does not know them.
    """

    def __init__(self, reach: Reach, *, is_encrypted: bool, inner: AbstractResolver | None = None) -> None:
        """Make one; `inner` looks names up and stands in for the system's resolver in tests."""
        self._reach = reach
        self._is_encrypted = is_encrypted
        self._inner = inner or NameLookup()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; raises OSError when there are none, or one that is refused."""
        found = await self._look_up(host, port, family)
        for entry in found:
            if not may_connect(kind_of(entry["host"]), self._reach, is_encrypted=self._is_encrypted):
                raise _AddressRefused(_ADDRESS_REFUSED)
        return found

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        try:
            return await self._inner.resolve(host, port, family)
        except OSError:
            if Reach.LOOPBACK not in self._reach or not host.endswith(".localhost"):
                raise
        return await self._inner.resolve("127.0.0.1", port, socket.AF_INET)

    async def close(self) -> None:
        """Let go of the system's resolver."""
        await self._inner.close()
