"""Store URLs: what may stand in one, and the redis-py connection it describes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from chassis.secret_file import SecretInvalid, read_one_line
from chassis.store_connection import LookedUpConnection, LookedUpTlsConnection

log = logging.getLogger(__name__)

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

_CERTIFICATE_CHECKS = {"ssl_cert_reqs": ("required",), "ssl_check_hostname": ("true", "yes", "1")}
"""Options with what they may say: whoever can stand in for the store can answer that nothing was used yet."""


@dataclass(frozen=True, slots=True)
class StoreLogin:
    """As whom a link logs in.

    Attributes:
        password_file: File with the password in one line; read at every connect, so a new one needs no restart.
        username: ACL user; empty for the store's default user.
        sentinel_password_file: The same for the sentinels; empty when they ask for none.
    """

    password_file: str
    username: str = ""
    sentinel_password_file: str = ""

    def provider(self) -> CredentialProvider | None:
        """Return what gives redis-py the password at each connect; None without a file."""
        return _FileCredentials(self) if self.password_file else None

    def for_sentinels(self) -> StoreLogin:
        """Return the login at the sentinels."""
        return StoreLogin(self.sentinel_password_file)


class _FileCredentials(CredentialProvider):  # type: ignore[misc]  # redis-py is not typed for us
    """Gives redis-py the password that stands in the file right now."""

    def __init__(self, login: StoreLogin) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = read_one_line(self._login.password_file)
        except SecretInvalid as error:
            # Here, because all that is logged of a failed connect is its kind.
            log.warning("store_login: %s", error)
            raise AuthenticationError("no password") from None
        return (self._login.username, password) if self._login.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def has_password(url: str) -> bool:
    """Tell whether a store URL carries a password; a text that is no URL has none that anybody could use."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        return False


def connection_factory(url: str, connect_timeout_seconds: float, login: StoreLogin | None = None) -> Callable[[], Any]:
    """Return what makes a fresh, not yet connected redis-py connection.

    Args:
        url: `redis://`, `rediss://` or `unix://`; see `StoreLink`.
        connect_timeout_seconds: For the socket alone.
        login: Password from a file; the URL then names neither user nor password.

    Raises:
        ValueError: With a fixed text: the URL may hold a password, so it is never repeated.
    """
    problem = _problem(url)
    if problem is not None:
        raise ValueError(f"store URL: {problem}")
    try:
        written: dict[str, Any] = dict(parse_url(url))
        if login is not None and login.password_file:
            if {"username", "password"} & set(written):
                raise ValueError
            written["credential_provider"] = login.provider()
        connection_class = _connection_class(written.pop("connection_class", Connection))
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


def _connection_class(parsed: type) -> Callable[..., Any]:
    ours: dict[type, Callable[..., Any]] = {Connection: LookedUpConnection, SSLConnection: LookedUpTlsConnection}
    return ours.get(parsed, parsed)


def connection_options(url: str) -> dict[str, Any]:
    """Return what a redis-py client takes for a server beside the one at `url`: its TLS options, no login.

    Raises:
        ValueError: As `connection_factory`.
    """
    connection_factory(url, 1.0)
    written = dict(parse_url(url))
    return {"ssl": "connection_class" in written} | {
        name: value for name, value in written.items() if name.startswith("ssl_")
    }


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
    if any(options.get(name, [values[0]])[0].lower() not in values for name, values in _CERTIFICATE_CHECKS.items()):
        return "an option must not switch off the check of the store's certificate; ssl_ca_certs names its authority"
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
