"""extauthz for which no time of day passes.

h2load repeats one body, whose DPoP proof would soon be too old; here it stays as young as it was at the start.
"""

from __future__ import annotations

import extauthz.server
from chassis.asgi_host import AsgiHost
from chassis.clock import SystemClock
from chassis.listen import HostOptions
from chassis.logs import setup_logging
from chassis.service import Service
from chassis.settings import read_host_options
from policy.settings import ServiceSettings, read_settings

_AHEAD_SECONDS = 290.0
"""Proofs are made when every server is ready, and are good for the 300 s before this clock's time."""


class StillClock(SystemClock):
    """A wall clock that was stopped when the service was built."""

    def __init__(self) -> None:
        self._wall = SystemClock().wall() + _AHEAD_SECONDS

    def wall(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z, always the same."""
        return self._wall


def build(settings: ServiceSettings) -> Service:
    """Build the service as it is, but for its clock."""
    return extauthz.server.build(settings, StillClock())


def _make() -> tuple[Service, HostOptions]:
    settings = read_settings()
    setup_logging(extauthz.server.NAME, level=settings.log_level)
    return build(settings), read_host_options()


app = AsgiHost(_make)
