"""Translates the environment of envoyproxy/ratelimit (src/settings/settings.go) into settings of `tollhouse serve`.

`tollhouse import ratelimit-env` prints what comes out. Law: no secret is ever part of it, every variable that was
given is answered for, and what has no equivalent says why. Nothing is guessed: a value that the Go server would not
start with is named and left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote as url_quote
from urllib.parse import urlencode

from policy.descriptors.reader import COMPAT_ENVOYPROXY
from tollhouse import descriptor_options as counting
from tollhouse import options as of
from tollhouse.ratelimit_env_rest import reason_without_equivalent
from tollhouse.setting import Setting

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LEVELS: Final = {
    "trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING",
    "error": "ERROR", "fatal": "ERROR", "panic": "ERROR",
}  # fmt: skip
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_BYTES_PER_KEY: Final = 100
_SENTINEL_PASSWORD_FILE: Final = "/etc/tollhouse/sentinel.password"  # noqa: S105 - a file name
_PASSWORD_FILE: Final = "/etc/tollhouse/store.password"  # noqa: S105 - a file name


class BadVariable(Exception):  # noqa: N818 - reads as what it is
    """A variable holds what the Go server would not start with; the text never repeats the value."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the answer.

    Attributes:
        comment: Why; one sentence.
        variable: Ours, or None for a comment alone.
        value: Its value.
        is_off: Written as a comment, for a person to switch on.
        is_refused: Something was left out that a person has to settle.
    """

    comment: str
    variable: str | None = None
    value: str = ""
    is_off: bool = False
    is_refused: bool = False

    def render(self) -> str:
        """Return it as text of an environment file."""
        if not self.variable:
            return f"# {self.comment}"
        return f"# {self.comment}\n{'#' if self.is_off else ''}{self.variable}={shlex.quote(self.value)}"


@dataclass(slots=True)
class Environment:
    """The variables of the Go server; remembers which ones were asked for."""

    values: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    def text(self, name: str, default: str = "") -> str:
        """Return a value, or the Go server's default where it is not set."""
        self.used.add(name)
        return self.values.get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value as Go's strconv.ParseBool reads it."""
        text = self.text(name, str(default).lower())
        if text not in _TRUE | _FALSE:
            raise BadVariable(f"{name} is neither true nor false")
        return text in _TRUE

    def number(self, name: str, default: str, pattern: str = r"[0-9]{1,15}") -> str:
        """Return a number as it is written."""
        text = self.text(name, default)
        if not re.fullmatch(pattern, text):
            raise BadVariable(f"{name} is no number that the Go server would take")
        return text

    def has(self, *names: str) -> bool:
        """Tell whether any of them is set."""
        return any(name in self.values for name in names)


def translate(values: Mapping[str, str], *, is_file: bool) -> list[Line]:
    """Return the lines for the given variables.

    Args:
        values: By name.
        is_file: They were written for the Go server alone, so a name that it does not know is worth a word.
    """
    environment = Environment(values)
    lines: list[Line] = []
    for part in (_rules, _listen, _tls, _store, _per_second, _counting, _answers, _operation):
        try:
            lines.extend(part(environment))
        except BadVariable as bad:
            lines.append(Line(f"NOT TRANSLATED: {bad}; the Go server would not start with it", is_refused=True))
    is_whole = not any(line.is_refused for line in lines)
    for name in sorted(set(values) - environment.used):
        reason = reason_without_equivalent(name)
        if reason:
            lines.append(Line(f"{name} has no equivalent: {reason}"))
        elif is_file and is_whole:
            lines.append(Line(f"{name} is no setting of envoyproxy/ratelimit that is known here; left out"))
        elif is_file:
            lines.append(Line(f"{name} was not looked at; settle what is NOT TRANSLATED first"))
    return lines


def render(lines: list[Line]) -> str:
    """Return an environment file with the command that reads it."""
    head = [
        "# Made from the environment of envoyproxy/ratelimit; read it before you use it. Start with these variables:",
        "#   tollhouse serve ratelimit",
    ]
    return "\n".join([*head, *(line.render() for line in lines)]) + "\n"


def _rules(env: Environment) -> Iterator[Line]:
    kind = env.text("CONFIG_TYPE", "FILE")
    if kind != "FILE":
        yield Line("CONFIG_TYPE: rules over xDS are not read; write them into files for the directory below")
    parts = [env.text("RUNTIME_ROOT", "/srv/runtime_data/current"), env.text("RUNTIME_SUBDIRECTORY")]
    parts.append(env.text("RUNTIME_APPDIRECTORY", "config"))
    directory = "/".join(part.rstrip("/") for part in parts if part)
    yield Line("Where the rules are, watched; check them first: tollhouse check DIR --compat envoyproxy",
               of.DESCRIPTORS.variable, directory)  # fmt: skip
    yield Line("Count and answer as before, surprises included; docs/descriptors.md says how to leave this behind",
               of.COMPAT.variable, COMPAT_ENVOYPROXY)  # fmt: skip
    if env.flag("MERGE_DOMAIN_CONFIG"):
        yield Line("MERGE_DOMAIN_CONFIG: files count in the order of their names", of.MERGE_DOMAINS.variable, "true")


def _listen(env: Environment) -> Iterator[Line]:
    variable = of.LISTEN.variable
    host, port = env.text("GRPC_HOST", "0.0.0.0"), env.number("GRPC_PORT", "8081")  # noqa: S104 - what is there today
    socket = env.text("GRPC_UDS")
    if socket:
        yield Line("GRPC_UDS: where Envoy calls", variable, f"unix:{socket}")
        return
    exposed = "" if host in ("127.0.0.1", "localhost", "::1") or env.text("GRPC_CLIENT_TLS_CACERT") else (
        "; off loopback it takes mutual TLS, or --insecure-listen in the command"
    )  # fmt: skip
    yield Line(f"GRPC_HOST and GRPC_PORT: where Envoy calls{exposed}", variable, _address(host, port))


def _address(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(env: Environment) -> Iterator[Line]:
    names = ("GRPC_SERVER_TLS_CERT", "GRPC_SERVER_TLS_KEY", "GRPC_CLIENT_TLS_CACERT", "GRPC_CLIENT_TLS_SAN")
    certificate, key, authority, san = (env.text(name) for name in names)
    if not env.flag("GRPC_SERVER_USE_TLS"):
        if any((certificate, key, authority, san)):
            yield Line("GRPC_SERVER_TLS_...: not in force without GRPC_SERVER_USE_TLS, so left out")
        return
    settings = ((of.TLS_CERT, certificate), (of.TLS_KEY, key), (of.TLS_CLIENT_CA, authority), (of.PEER_SAN, san))
    for (setting, value), name in zip(settings, names, strict=True):
        if value:
            yield Line(f"{name}: followed when the file changes", setting.variable, value)
    if authority and not san:
        yield Line("TOLLHOUSE_PEER_SAN is needed too: any certificate of that authority was believed, here names are")


def _store(env: Environment) -> Iterator[Line]:
    if env.text("BACKEND_TYPE", "redis") != "redis":
        yield Line("BACKEND_TYPE: memcached cannot count all or nothing, and fails open; name a Redis or Valkey below")
    yield from _store_lines(env, "REDIS", of.STORE.variable, "/var/run/nutcracker/ratelimit.sock")
    user, colon, password = env.text("REDIS_AUTH").partition(":")
    if user:
        yield Line("REDIS_AUTH: write the password into this file, mode 600; it is not repeated here",
                   of.STORE_PASSWORD_FILE.variable, _PASSWORD_FILE)  # fmt: skip
    if colon and password:
        yield Line("REDIS_AUTH: the ACL user", of.STORE_USERNAME.variable, user)
    if env.text("REDIS_SENTINEL_AUTH"):
        comment = "REDIS_SENTINEL_AUTH: write the password into this file, mode 600; it is not repeated here"
        yield Line(comment, of.SENTINEL_PASSWORD_FILE.variable, _SENTINEL_PASSWORD_FILE)


def _per_second(env: Environment) -> Iterator[Line]:
    if not env.flag("REDIS_PERSECOND"):
        return
    default = "/var/run/nutcracker/ratelimitpersecond.sock"
    yield from _store_lines(env, "REDIS_PERSECOND", counting.STORE_PER_SECOND.variable, default)
    if env.text("REDIS_PERSECOND_AUTH"):
        yield Line("REDIS_PERSECOND_AUTH: both stores are logged in to with the store's user and password file")


def _store_lines(env: Environment, prefix: str, variable: str | None, default: str) -> Iterator[Line]:
    url = env.text(f"{prefix}_URL", default).rpartition("@")[2]  # whatever stands before it is a login
    socket_type, kind = env.text(f"{prefix}_SOCKET_TYPE", "unix"), env.text(f"{prefix}_TYPE", "SINGLE").upper()
    scheme = "rediss" if env.flag(f"{prefix}_TLS") else "redis"
    query = _tls_query(env) if scheme == "rediss" else ""
    url = url.removeprefix("rediss://").removeprefix("redis://").removeprefix("unix://")
    if kind == "SENTINEL":
        name, *nodes = url.split(",")
        if not name or not nodes or not all(_HOST_AND_PORT.fullmatch(node) for node in nodes):
            raise BadVariable(f"{prefix}_URL is not NAME,HOST:PORT,...")
        yield Line(f"{prefix}_URL: the store that its sentinels name", variable,
                   f"{scheme}+sentinel://{','.join(nodes)}/{url_quote(name, safe='')}{query}")  # fmt: skip
    elif kind == "CLUSTER":
        if not all(_HOST_AND_PORT.fullmatch(node) for node in url.split(",")):
            raise BadVariable(f"{prefix}_URL is not HOST:PORT,...")
        yield Line(f"{prefix}_URL: some nodes of the cluster", variable, f"{scheme}+cluster://{url}{query}")
    elif socket_type == "unix":
        yield Line(f"{prefix}_URL: a Unix socket", variable, f"unix://{url}")
    elif _HOST_AND_PORT.fullmatch(url):
        yield Line(f"{prefix}_URL: one store for all replicas", variable, f"{scheme}://{url}/0{query}")
    else:
        raise BadVariable(f"{prefix}_URL is not HOST:PORT")


def _tls_query(env: Environment) -> str:
    names = {
        "ssl_certfile": "REDIS_TLS_CLIENT_CERT",
        "ssl_keyfile": "REDIS_TLS_CLIENT_KEY",
        "ssl_ca_certs": "REDIS_TLS_CACERT",
    }
    found = {option: value for option, name in names.items() if (value := env.text(name))}
    return f"?{urlencode(found, safe='/')}" if found else ""


def _counting(env: Environment) -> Iterator[Line]:
    if prefix := env.text("CACHE_KEY_PREFIX"):
        yield Line("CACHE_KEY_PREFIX: before every counter's name", counting.COUNTER_PREFIX.variable, prefix)
    if env.has("EXPIRATION_JITTER_MAX_SECONDS"):
        jitter = _within(counting.EXPIRATION_JITTER_SECONDS, int(env.number("EXPIRATION_JITTER_MAX_SECONDS", "300")))
        yield Line("EXPIRATION_JITTER_MAX_SECONDS: the same", counting.EXPIRATION_JITTER_SECONDS.variable, jitter)
    size = int(env.number("LOCAL_CACHE_SIZE_IN_BYTES", "0"))
    if size:
        keys = _within(counting.LOCAL_CACHE_SIZE, max(1, size // _BYTES_PER_KEY))
        yield Line(f"LOCAL_CACHE_SIZE_IN_BYTES: counted in counters here, {_BYTES_PER_KEY} bytes each",
                   counting.LOCAL_CACHE_SIZE.variable, keys)  # fmt: skip
    if env.has("NEAR_LIMIT_RATIO"):
        ratio = env.number("NEAR_LIMIT_RATIO", "0.8", r"[0-9]*\.?[0-9]+")
        yield Line("NEAR_LIMIT_RATIO: the same", counting.NEAR_LIMIT_RATIO.variable, ratio)
    if env.flag("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT"):
        yield Line("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT: the same; without --compat refused hits never count",
                   counting.STOP_INCREMENT_WHEN_OVER.variable, "true")  # fmt: skip
    for name, setting in (("SHADOW_MODE", counting.SHADOW_MODE), ("QUOTA_MODE", counting.QUOTA_MODE)):
        if env.flag(name):
            yield Line(f"{name}: the same", setting.variable, "true")


def _within(setting: Setting, number: int) -> str:
    """Return a number as text, cut to what the setting accepts."""
    _, highest = setting.bounds or (0, number)
    return str(min(number, int(highest)))


def _answers(env: Environment) -> Iterator[Line]:
    headers = ",".join(
        env.text(f"LIMIT_{name.upper()}_HEADER", f"RateLimit-{name}") for name in ("Limit", "Remaining", "Reset")
    )
    if env.flag("LIMIT_RESPONSE_HEADERS_ENABLED"):
        yield Line("LIMIT_RESPONSE_HEADERS_ENABLED: limit, remaining, reset", counting.LIMIT_HEADERS.variable, headers)
    if env.flag("RESPONSE_DYNAMIC_METADATA"):
        yield Line("RESPONSE_DYNAMIC_METADATA: the same", counting.DESCRIPTOR_METADATA.variable, "true")


def _operation(env: Environment) -> Iterator[Line]:
    level = _LEVELS.get(env.text("LOG_LEVEL", "WARN").lower())
    if level is None:
        raise BadVariable("LOG_LEVEL is no level")
    if env.has("LOG_LEVEL"):
        yield Line("LOG_LEVEL: INFO also says which rules were loaded when", of.LOG_LEVEL.variable, level)
    if env.flag("USE_PROMETHEUS"):
        port = env.text("PROMETHEUS_ADDR", ":9090").rpartition(":")[2]
        yield Line("USE_PROMETHEUS, PROMETHEUS_ADDR: /metrics, with /readyz and more; other addresses take a token",
                   of.ADMIN.variable, f"127.0.0.1:{port}")  # fmt: skip
    if env.has("PORT", "DEBUG_PORT"):
        env.text("HOST"), env.text("DEBUG_HOST"), env.number("DEBUG_PORT", "6070")
        yield Line("PORT, DEBUG_PORT: /json charges limits without asking who calls, so it is off; loopback alone",
                   counting.JSON_LISTEN.variable, f"127.0.0.1:{env.number('PORT', '8080')}", is_off=True)  # fmt: skip
