"""Which port each part listens on; every part is on loopback."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from typing import Final

from tollhouse.probe import LOOPBACK
from tollhouse.up.failure import UpFailed


@dataclass(frozen=True, slots=True)
class Ports:
    """One port a part; the defaults are those of envoy/tollhouse.yaml and of the sample policy set."""

    envoy: int = 10000
    envoy_admin: int = 9901
    extauthz: int = 9001
    extauthz_admin: int = 9101
    ratelimit: int = 9002
    ratelimit_admin: int = 9102
    upstream: int = 9010
    upstream_stats: int = 9011
    issuer: int = 18080


DEFAULTS: Final = Ports()


def choose_ports(envoy: int | None = DEFAULTS.envoy) -> Ports:
    """Return ports that are free now: the usual ones where possible, else any.

    Args:
        envoy: The port a person will type, so it is not exchanged for another; None for any port for every
            part, as tests want.

    Raises:
        UpFailed: If `envoy` is in use.
    """
    names = [field.name for field in fields(Ports)]
    if envoy is None:
        return Ports(**dict(zip(names, _free_ports(len(names)), strict=True)))
    if not _is_free(envoy):
        raise UpFailed(f"port {envoy} is in use; stop what listens there or choose another: tollhouse up --port N")
    spare = iter(_free_ports(len(names)))
    usual = zip(names, astuple(DEFAULTS), strict=True)
    chosen = {name: port if port != envoy and _is_free(port) else next(spare) for name, port in usual}
    return Ports(**{**chosen, "envoy": envoy})


def _is_free(port: int) -> bool:
    # Without SO_REUSEPORT, which Envoy sets: with it a second Envoy would take every other connection.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
