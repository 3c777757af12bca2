"""What callers ask of a cluster: gathered slot by slot, one script call for each slot at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic

from chassis.clock import Clock
from chassis.gathered_calls import Answer, GatheredCalls, Question
from chassis.store_cluster import StoreCluster, slot_of
from chassis.store_link import StoreLink


def calls_over(
    link: StoreLink | StoreCluster,
    script: str,
    clock: Clock,
    pack: Callable[[Sequence[Question]], tuple[Sequence[str], Sequence[str | int]]],
    read: Callable[[Question, Any], Answer | Exception],
) -> GatheredCalls[Question, Answer] | ClusterCalls[Question, Answer]:
    """Return the calls of one script over a store, whichever it is; the parameters are those of `GatheredCalls`."""
    if isinstance(link, StoreCluster):
        return ClusterCalls(link, script, clock, pack, read)
    return GatheredCalls(link, script, clock, pack, read)


class ClusterCalls(Generic[Question, Answer]):
    """As `GatheredCalls`, over a cluster; all keys of a question must share one hash tag.

    Args:
        cluster: Knows the script; started and stopped here.
        script: Its name.
        clock: `monotonic()` is what deadlines are measured on.
        pack: As for `GatheredCalls`.
        read: As for `GatheredCalls`.
    """

    def __init__(
        self,
        cluster: StoreCluster,
        script: str,
        clock: Clock,
        pack: Callable[[Sequence[Question]], tuple[Sequence[str], Sequence[str | int]]],
        read: Callable[[Question, Any], Answer | Exception],
    ) -> None:
        self._cluster = cluster
        self._make: Callable[[int], GatheredCalls[Question, Answer]] = lambda slot: GatheredCalls(
            cluster.slot(slot), script, clock, pack, read
        )
        self._calls: dict[int, GatheredCalls[Question, Answer]] = {}

    @property
    def is_available(self) -> bool:
        """Whether every primary can be called."""
        return self._cluster.is_connected

    def doubt_about(self, key: str) -> str:
        """Return why the slot of a key cannot be trusted to remember; empty when nothing speaks against it."""
        return self._cluster.slot(slot_of(key)).doubt

    @property
    def is_doubted(self) -> bool:
        """Whether some slot that was used cannot be trusted to remember."""
        return self._cluster.is_doubted

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know, each thing once."""
        return self._cluster.warnings()

    async def start(self) -> None:
        """Begin to connect; never fails because the cluster is away."""
        await self._cluster.start()

    async def stop(self) -> None:
        """Close all links; whoever still waits gets `StoreUnavailable`."""
        for calls in self._calls.values():
            await calls.stop()
        await self._cluster.stop()

    def ask_at(self, key: str, question: Question, deadline: float) -> asyncio.Future[Answer]:
        """Return the answer to come of the slot that a key lies in; see `GatheredCalls.ask`."""
        slot = slot_of(key)
        calls = self._calls.get(slot)
        if calls is None:
            calls = self._calls[slot] = self._make(slot)
        return calls.ask(question, deadline)
