"""A service that serves compiled policy: one snapshot holder, a decision log, metrics, background parts.

Both services are this class with their own methods and parts, so start, stop and readiness are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry

from chassis.record import DecisionLog
from chassis.reload import LoadFailed, Reloader
from chassis.rpc import Methods, Sheds, StreamMethods
from chassis.service import Readiness, StartRefused

T = TypeVar("T")
log = logging.getLogger("tollhouse.service")


class Background(Protocol):
    """Something that works beside the request path: key refresh, store link."""

    async def start(self) -> None:
        """Begin; must not wait for a dependency that is away."""

    async def stop(self) -> None:
        """End, bounded in time."""


@dataclass(frozen=True, slots=True)
class ServiceParts(Generic[T]):
    """What a service is made of.

    Attributes:
        reloader: Holds the active policy snapshot.
        decision_log: Takes the records.
        background: Started in order before the service is ready, stopped in reverse.
        waiting_for: Returns what else is missing before calls may come, in words.
        warnings: Returns what an operator should know although the service is ready.
        sheds: What answers a method's calls under overload.
        others: Further snapshots by the name that /policy shows them under; loaded, watched and needed like the first.
        streams: Methods that take a stream of messages.
    """

    reloader: Reloader[T]
    decision_log: DecisionLog
    background: Sequence[Background]
    waiting_for: Callable[[], tuple[str, ...]]
    warnings: Callable[[], tuple[str, ...]]
    sheds: Sheds
    others: Mapping[str, Reloader[Any]] = field(default_factory=dict)
    streams: StreamMethods = field(default_factory=dict)


class PolicyService(Generic[T]):
    """Implements `chassis.service.Service`."""

    def __init__(self, name: str, methods: Methods, registry: CollectorRegistry, parts: ServiceParts[T]) -> None:
        self.name = name
        self.methods = methods
        self.sheds = parts.sheds
        self.streams = parts.streams
        self.registry = registry
        self._parts = parts
        self._started: list[Background] = []

    async def start(self) -> None:
        """Load policy, then start background work; raises `StartRefused` when the set is broken."""
        reloaders = (self._parts.reloader, *self._parts.others.values())
        try:
            for reloader in reloaders:
                reloader.load_initial()
        except LoadFailed as error:
            raise StartRefused(error.problems) from error
        try:
            for part in (self._parts.decision_log, *self._parts.background, *reloaders):
                await part.start()
                self._started.append(part)
        except BaseException:
            # A service that was refused leaves no thread, task or open file behind.
            await self.stop()
            raise

    async def stop(self) -> None:
        """End background work in reverse order; a part that fails to stop does not keep the others."""
        while self._started:
            part = self._started.pop()
            try:
                await part.stop()
            except Exception:
                log.exception("a part of %s did not stop cleanly", self.name)

    def readiness(self) -> Readiness:
        """Ready once policy is loaded and nothing else is missing."""
        waiting = self._parts.waiting_for()
        if not all(reloader.is_loaded for reloader in (self._parts.reloader, *self._parts.others.values())):
            waiting = ("a policy set", *waiting)
        return Readiness(not waiting, waiting, (*self._parts.warnings(), *_log_warnings(self._parts.decision_log)))

    def snapshot(self) -> T | None:
        """Return the active policy snapshot, or None before the first load."""
        return self._parts.reloader.current if self._parts.reloader.is_loaded else None

    def policy_status(self) -> dict[str, Any]:
        """Describe the active policy revision, since when it serves, and the last reload error."""
        others = {name: reloader.status() for name, reloader in self._parts.others.items()}
        return {**self._parts.reloader.status(), **others}


def _log_warnings(decision_log: DecisionLog) -> tuple[str, ...]:
    if decision_log.is_failing:
        return ("decision records are being lost",)
    if decision_log.is_behind:
        return ("decision records wait: whoever reads the decision log has stalled",)
    return ()
