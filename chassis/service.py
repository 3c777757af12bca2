"""What a service looks like to the processes that run it, whichever the transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from chassis.rpc import Methods, Sheds, StreamMethods


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls may be sent here.

    Attributes:
        is_ready: True once policy is loaded and everything a first call needs is there.
        waiting_for: What is missing, in words, for `/readyz`; empty when ready.
        warnings: Things an operator should know although the service is ready.
    """

    is_ready: bool
    waiting_for: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Service(Protocol):
    """One gRPC service with its background work."""

    name: str
    """`extauthz` or `ratelimit`."""

    methods: Methods
    sheds: Sheds
    streams: StreamMethods
    registry: CollectorRegistry

    async def start(self) -> None:
        """Load policy and start background work; raises `StartRefused` when it must not run."""

    async def stop(self) -> None:
        """End background work and flush the decision log; never raises, bounded in time."""

    def readiness(self) -> Readiness:
        """Say whether calls may be sent here."""

    def policy_status(self) -> dict[str, Any]:
        """Describe the active policy revision, since when it serves, and the last reload error."""


class StartRefused(Exception):  # noqa: N818 - the word operators read
    """The service must not start.

    No frozen dataclass: what raises an exception again, such as a context manager, writes to it.

    Attributes:
        problems: Why, each a line for a person.
    """

    def __init__(self, problems: tuple[str, ...] = ()) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """Return one problem a line."""
        return "\n".join(self.problems)
