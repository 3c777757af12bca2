"""Where a service listens and within which bounds it serves: what every transport is told.

Built by the command line, handed to `serve_grpcio` or `serve_envoy`; the latter passes it on to the
embedded process as JSON. Its law: an address is understood here or refused with a text for a person.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import socket
import stat
from dataclasses import asdict, dataclass
from typing import Any

from chassis.tls import TlsOptions

MAX_UNIX_PATH_BYTES = 107
"""`sun_path` of struct sockaddr_un on Linux, less its closing NUL byte."""

UNIX_SOCKET_MODE = 0o660
"""A service socket's group is how an operator lets another user's Envoy in."""

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address or the path of a Unix socket.

    Attributes:
        host: An IP address without brackets, or `localhost`; None for a Unix socket.
        port: 0 to 65535, 0 = any free port; None for a Unix socket.
        unix_path: Absolute path; None for TCP.
    """

    host: str | None
    port: int | None
    unix_path: str | None

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `127.0.0.1:9001`, `[::1]:9001`, `localhost:9001` or `unix:/run/x.sock`.

        Raises:
            ValueError: With a text that says what is wrong.
        """
        if text.startswith("unix:"):
            return cls(None, None, _unix_path(text))
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise ValueError(f"{text!r} is no listen address: write HOST:PORT or unix:/PATH")
        return cls(_host(host), _port(port, text), None)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: loopback or a Unix socket."""
        if self.host is None or self.host == "localhost":
            return True
        return ipaddress.ip_address(self.host).is_loopback

    def with_port(self, port: int) -> ListenAddress:
        """Return the same TCP address with another port."""
        return ListenAddress(self.host, port, None)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in (self.host or "") else f"{self.host}:{self.port}"


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError(f"{text!r} is no listen address: the path of a Unix socket must be absolute")
    if "\0" in path or len(path.encode()) > MAX_UNIX_PATH_BYTES:
        raise ValueError(f"{text!r} is no listen address: the path must be at most {MAX_UNIX_PATH_BYTES} bytes long")
    return path


def _host(host: str) -> str:
    if host == "localhost":
        return host
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        # Names other than localhost are refused: what they resolve to, and so who can reach the
        # port, would be decided by somebody else's name server.
        raise ValueError(f"{host!r} is no listen host: write an IP address or localhost") from None
    if (address.version == 6) != is_bracketed:
        raise ValueError(f"{host!r} is no listen host: write IPv6 in brackets, IPv4 without")
    return bare


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError(f"{text!r} is no listen address: the port must be a number from 0 to {_MAX_PORT}")
    return int(port)


def remove_dead_socket(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more; anything else at that path stays.

    Called before a bind and after a stop: whoever binds a path whose socket is alive takes its calls away
    (bind(2) does not look, and Envoy and gRPC unlink first), and whoever cleans up without looking does as well.

    Raises:
        OSError: EADDRINUSE if somebody listens there.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: alive, if not well
    raise OSError(errno.EADDRINUSE, "another process listens there", path)


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How a transport serves; the same on each.

    Attributes:
        listen: Where calls arrive.
        admin: Where the admin pages are; None for none.
        is_insecure_listen: `listen` is off loopback without mutual TLS, and the operator said so.
        max_message_bytes: Longest request message; longer ones are RESOURCE_EXHAUSTED.
        default_timeout_seconds: Deadline of a call that brings no `grpc-timeout`.
        max_timeout_seconds: Longest deadline; a longer `grpc-timeout` is cut to it.
        drain_seconds: Longest wait for calls in flight at a stop.
        lame_duck_seconds: How long NOT_SERVING is shown before the listener closes.
        max_stream_seconds: Longest time that a call with a stream of messages stays open, its caller opens another;
            0.0 where there is no such method.
        tls: Certificates of the service listener and its callers; None: plain text.
        admin_token_file: File with the token that the admin pages ask for; None: they ask for none.
    """

    listen: ListenAddress
    admin: ListenAddress | None = None
    is_insecure_listen: bool = False
    max_message_bytes: int = 512 * 1024
    default_timeout_seconds: float = 1.0
    max_timeout_seconds: float = 10.0
    drain_seconds: float = 10.0
    lame_duck_seconds: float = 1.0
    max_stream_seconds: float = 0.0
    tls: TlsOptions | None = None
    admin_token_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse an exposed listener nobody asked for and admin pages that others can read.

        A server certificate alone does not make an exposed listener safe: it tells callers who we are, and lets
        in whoever calls.
        """
        if not (self.listen.is_local or self.is_mutual_tls or self.is_insecure_listen):
            raise ValueError(
                f"{self.listen} is reachable from other machines; that needs mutual TLS or an explicit consent"
            )
        if self.admin is not None and not self.admin.is_local and self.admin_token_file is None:
            raise ValueError(f"admin pages on {self.admin} are reachable from other machines; that needs a token file")
        if self.default_timeout_seconds > self.max_timeout_seconds:
            raise ValueError("the default deadline is longer than the longest one")

    @property
    def is_mutual_tls(self) -> bool:
        """Whether callers must prove who they are."""
        return self.tls is not None and self.tls.is_mutual

    def to_json(self) -> str:
        """Return the options as one line that `from_json` reads."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        fields["listen"] = str(self.listen)
        fields["admin"] = None if self.admin is None else str(self.admin)
        fields["tls"] = None if self.tls is None else asdict(self.tls)
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> HostOptions:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the text is not the JSON of options.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("host options must be a JSON object")
        try:
            admin, tls = fields.pop("admin"), fields.pop("tls")
            listen = ListenAddress.parse(fields.pop("listen"))
            return cls(
                listen=listen,
                admin=None if admin is None else ListenAddress.parse(admin),
                tls=None if tls is None else TlsOptions(**tls),
                **fields,
            )
        except (KeyError, TypeError):
            raise ValueError("host options have missing or unknown members") from None
