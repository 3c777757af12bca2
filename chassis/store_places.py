"""Where the store is right now: at the place its URL names, or where its sentinels say.

Used by `store_link` at every connect. redis-py finds the place; a connection is given out only to a server that says
itself that it takes writes, because a sentinel that was cut off may still name the old one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chassis.store_url import StoreLogin, connection_factory, connection_options

Open = Callable[[], Awaitable[Any]]
"""Returns a redis-py connection, connected and logged in; raises whatever redis-py raises."""

SENTINEL_SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_SENTINEL_PORT: Final = 26379
_MAX_NODES: Final = 16


def store_opener(url: str, connect_timeout_seconds: float, login: StoreLogin | None = None) -> Open:
    """Return what opens a fresh connection to the store.

    Args:
        url: See `connection_factory`; or `redis+sentinel://[user:pass@]host[:port],…/service[/db][?options]`, with
            TLS to sentinels and store `rediss+sentinel://…`.
        connect_timeout_seconds: For finding and connecting together; shared out among the sentinels.
        login: Password from a file.

    Raises:
        ValueError: With a fixed text that repeats nothing of the URL.
    """
    if url.partition("://")[0] in SENTINEL_SCHEMES:
        return _Sentinels.from_url(url, connect_timeout_seconds, login).open
    make = connection_factory(url, connect_timeout_seconds, login)
    return lambda: connected(make())


async def close(connection: Any) -> None:
    """Close a connection, whatever state it is in."""
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)


@dataclass(frozen=True, slots=True)
class _Sentinels:
    nodes: tuple[tuple[str, int], ...]
    service: str
    make: Callable[[str, int], Any]
    options: dict[str, Any]

    @classmethod
    def from_url(cls, url: str, connect_timeout_seconds: float, login: StoreLogin | None) -> _Sentinels:
        try:
            parts = urlsplit(url)
            user, _, hosts = parts.netloc.rpartition("@")
            nodes = read_nodes(hosts, _SENTINEL_PORT)
        except ValueError:
            raise ValueError("store URL: not a list of host:port; reserved characters are percent-encoded") from None
        service, _, database = parts.path.removeprefix("/").partition("/")
        if not service or parts.fragment:
            raise ValueError("store URL: the path must name the service that the sentinels watch")

        def make(host: str, port: int) -> Any:
            place = f"{user}@{spelled(host)}:{port}" if user else f"{spelled(host)}:{port}"
            node = urlunsplit((SENTINEL_SCHEMES[parts.scheme], place, f"/{database}", parts.query, ""))
            return connection_factory(node, connect_timeout_seconds, login)()

        make(*nodes[0])  # refuses now what it would refuse at every connect
        options = connection_options(urlunsplit((SENTINEL_SCHEMES[parts.scheme], "sentinel", "", parts.query, "")))
        options |= {
            "socket_connect_timeout": connect_timeout_seconds / (len(nodes) + 1),
            # One that hangs leaves time to ask the next one.
            "socket_timeout": connect_timeout_seconds / (len(nodes) + 1),
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if login is not None and login.sentinel_password_file:
            options["credential_provider"] = login.for_sentinels().provider()
        return cls(nodes, service, make, options)

    async def open(self) -> Any:
        sentinel = Sentinel(self.nodes, sentinel_kwargs=self.options)
        try:
            host, port = await sentinel.discover_master(self.service)
        finally:
            for client in sentinel.sentinels:
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()
        connection = await connected(self.make(host, port))
        try:
            await connection.send_command("ROLE")
            role = await connection.read_response(disable_decoding=True)
            if type(role) is not list or role[0] != b"master":
                raise ValueError("the sentinels name a replica")
        except BaseException:
            await close(connection)
            raise
        return connection


async def connected(connection: Any) -> Any:
    """Connect and return a connection; one that fails is closed."""
    try:
        await connection.connect()
    except BaseException:
        await close(connection)
        raise
    return connection


def read_nodes(hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    """Read `host[:port],host[:port]`; raises ValueError."""
    texts: Sequence[str] = hosts.split(",")
    if len(texts) > _MAX_NODES:
        raise ValueError
    nodes = []
    for text in texts:
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.username is not None or parts.path or parts.query:
            raise ValueError
        nodes.append((parts.hostname, parts.port or default_port))
    return tuple(nodes)


def spelled(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
