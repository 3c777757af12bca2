"""What a hosted process is told through its environment by the process that supervises it.

Written by `envoy_host`, read once by `asgi_host` and the services' entry points inside Envoy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.listen import HostOptions

OPTIONS_VARIABLE = "TOLLHOUSE_HOST_OPTIONS"
CONTROL_VARIABLE = "TOLLHOUSE_HOST_CONTROL_FD"
RUNTIME_VARIABLE = "TOLLHOUSE_HOST_RUNTIME_DIR"

_INHERITED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What OpenSSL reads: where an operator keeps the certificates of his own authorities."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a hosted process talks to its supervisor.

    Attributes:
        control_fd: Inherited file descriptor of the control socket.
        runtime_dir: The supervisor's private directory, removed by whoever survives.
    """

    control_fd: int
    runtime_dir: Path

    def to_environment(self) -> dict[str, str]:
        """Return the variables that `read_supervision` reads."""
        return {CONTROL_VARIABLE: str(self.control_fd), RUNTIME_VARIABLE: str(self.runtime_dir)}


def read_supervision() -> Supervision | None:
    """Return how to talk to the supervisor, or None when nobody supervises this process."""
    control_fd = os.environ.get(CONTROL_VARIABLE)
    runtime_dir = os.environ.get(RUNTIME_VARIABLE)
    if control_fd is None or runtime_dir is None:
        return None
    return Supervision(int(control_fd), Path(runtime_dir))


def read_host_options(environment: Mapping[str, str] | None = None) -> HostOptions:
    """Return the options that `serve_envoy` handed to this process.

    Raises:
        ValueError: If the variable is missing or is not the JSON of options.
    """
    text = (os.environ if environment is None else environment).get(OPTIONS_VARIABLE)
    if text is None:
        raise ValueError(f"{OPTIONS_VARIABLE} is not set: this application is started by `tollhouse serve`")
    return HostOptions.from_json(text)


def quiet_grpc() -> None:
    """Have gRPC's C core report errors alone; it looks once, when `grpc` is imported.

    Else it writes a line to stderr for each handshake that fails: anybody could fill the log, and a reader of stderr
    that has stalled would stall the threads that accept calls. An operator's own `GRPC_VERBOSITY` wins.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def inherited_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a hosted process gets as they are, so that both transports trust the same."""
    found = os.environ if environment is None else environment
    return {name: found[name] for name in _INHERITED if name in found}
