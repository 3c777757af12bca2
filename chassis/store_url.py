"""Store URLs: what may stand in one, and the redis-py connection it describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

_OPTIONS = frozenset(
    {
        "db",
        "username",
        "password",
        "client_name",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_check_hostname",
        "ssl_cert_reqs",
        "ssl_min_version",
    }
)
"""Query options that say where and as whom; those that change how calls are made are ours alone."""


def connection_factory(url: str, connect_timeout_seconds: float) -> Callable[[], Any]:
    """Return what makes a fresh, not yet connected redis-py connection.

    Args:
        url: `redis://`, `rediss://` or `unix://`; see `StoreLink`.
        connect_timeout_seconds: For the socket alone.

    Raises:
        ValueError: With a fixed text: the URL may hold a password, so it is never repeated.
    """
    problem = _problem(url)
    if problem is not None:
        raise ValueError(f"store URL: {problem}")
    try:
        written: dict[str, Any] = dict(parse_url(url))
        connection_class = written.pop("connection_class", Connection)
        ours = {
            **written,
            "socket_connect_timeout": connect_timeout_seconds,
            # Deadlines are the callers' and the channel's; a time-out of redis-py's closes the connection.
            "socket_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "protocol": 2,  # RESP2 has no push messages: every reply answers a call
            "decode_responses": False,
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        connection_class(**ours)  # refuses now what it would refuse at every connect
    except (ValueError, TypeError, RedisError, OSError):
        raise ValueError("store URL: an option has a value that is not understood") from None
    return lambda: connection_class(**ours)


def _problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        _ = parts.port  # raises on a port that is no number, with the text of the URL in it
    except ValueError:
        return "not a URL; a password with reserved characters must be percent-encoded"
    if parts.scheme not in ("redis", "rediss", "unix") or parts.fragment:
        return "must be redis://, rediss:// or unix://"
    if not set(options) <= _OPTIONS or any(len(values) > 1 for values in options.values()):
        return "has an option that is unknown or repeated"
    return _unix_problem(parts.path, parts.netloc) if parts.scheme == "unix" else _host_problem(url)


def _unix_problem(path: str, netloc: str) -> str | None:
    if netloc.rpartition("@")[2]:
        return "unix:// takes an absolute path, as in unix:///run/store.sock"
    return None if len(path) > 1 else "names no socket"


def _host_problem(url: str) -> str | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return "names no host"
    database = parts.path.removeprefix("/")
    if database and not (database.isascii() and database.isdigit()):
        return "the path must be a database number"
    return None
