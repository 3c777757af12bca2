"""A cluster as a store: a link to each primary, and which slot is whose.

redis-py reads the cluster's map; calls go over our own links. Its law: a call goes to the node that owns its slot by
the last map; one that a node refuses because the slot has moved has not run, is `StoreUnavailable`, and has the map
read again. Each slot has an epoch of its own, because a script sees one slot alone (see `store_watch`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from redis.crc import key_slot

from chassis.clock import Clock
from chassis.store_epochs import birth_slots, epoch_key
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from chassis.store_nodes import ClusterNodes, Node
from chassis.store_watch import StoreWatch

__all__ = ["SlotLink", "StoreCluster", "slot_of"]

log = logging.getLogger(__name__)

_FILL_SECONDS: Final = 10.0
_OLDEST_MAP_SECONDS: Final = 30.0


def slot_of(key: str) -> int:
    """Return the slot of a key: that of its hash tag, where it has one (cluster specification)."""
    slot: int = key_slot(key.encode())
    return slot


class StoreCluster:
    """The links to a cluster's primaries; belongs to one event loop.

    Args:
        url: `redis+cluster://[user:pass@]host[:port],…[?options]` or `rediss+cluster://…`.
        scripts: As for `StoreLink`.
        clock: As for `StoreLink`.
        settings: Of each link.

    Raises:
        ValueError: The URL is not understood; its text is not repeated.
    """

    def __init__(self, url: str, scripts: Mapping[str, str], *, clock: Clock, settings: StoreSettings) -> None:
        self._nodes = ClusterNodes(url, settings.connect_timeout_seconds, settings.login)
        self._scripts = dict(scripts)
        self._clock = clock
        self._settings = settings
        self._owners: dict[int, Node] = {}
        self._links: dict[Node, StoreLink] = {}
        self._slots: dict[int, SlotLink] = {}
        self._is_born = settings.watch is None or settings.watch.is_forgetful
        self._is_map_old = asyncio.Event()
        self._first_attempt_over = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def watch(self) -> StoreWatch | None:
        """What each slot's watch is made like."""
        return self._settings.watch

    @property
    def is_connected(self) -> bool:
        """Whether every primary that is known can be called."""
        return bool(self._links) and all(link.is_connected for link in self._links.values())

    @property
    def is_doubted(self) -> bool:
        """Whether some slot that was used cannot be trusted to remember."""
        return any(slot.doubt for slot in self._slots.values())

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know, each thing once."""
        lost = [slot.watch.lost for slot in self._slots.values() if slot.watch is not None and slot.watch.lost]
        of_nodes = [text for link in self._links.values() if link.watch is not None for text in link.watch.warnings()]
        return tuple(dict.fromkeys((*lost, *of_nodes)))

    def slot(self, slot: int) -> SlotLink:
        """Return the way to one slot, whoever owns it at the time of a call."""
        link = self._slots.get(slot)
        if link is None:
            link = self._slots[slot] = SlotLink(self, slot)
        return link

    def owner(self, slot: int) -> StoreLink | None:
        """Return the link to the primary that owns a slot by the last map."""
        node = self._owners.get(slot)
        return None if node is None else self._links.get(node)

    def read_map_again(self) -> None:
        """Have the map read soon."""
        self._is_map_old.set()

    async def start(self) -> None:
        """Begin to connect; returns once the first attempt has succeeded or failed, and never fails."""
        if self._keeper is None:
            self._first_attempt_over.clear()
            self._keeper = asyncio.create_task(self._keep_map(), name="store-cluster")
        await self._first_attempt_over.wait()

    async def stop(self) -> None:
        """Close all links; callers still waiting get `StoreUnavailable`."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        self._first_attempt_over.set()
        links, self._links, self._owners = self._links, {}, {}
        for link in links.values():
            await link.stop()

    async def _keep_map(self) -> None:
        pause = self._settings.first_backoff_seconds
        while True:
            self._is_map_old.clear()
            try:
                await self._read_map()
                pause = self._settings.first_backoff_seconds
            except Exception as error:  # noqa: BLE001 - whatever answers there, the map is asked for again
                log.warning("store_map_failed: %s", type(error).__name__)
                pause = min(2 * pause, self._settings.max_backoff_seconds)
                self._is_map_old.set()
            self._first_attempt_over.set()
            # Not more often, however many calls find that a slot has moved.
            await asyncio.sleep(pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_map_old.wait(), _OLDEST_MAP_SECONDS)

    async def _read_map(self) -> None:
        async with asyncio.timeout(self._settings.connect_timeout_seconds):
            owners = await self._nodes.read_map()
        if not self._is_born and self.watch is not None:
            # Before any call: a slot without an epoch is from here on one that was emptied.
            async with asyncio.timeout(_FILL_SECONDS):
                await birth_slots(self._nodes, owners, self.watch.seed)
            self._is_born = True
        nodes = set(owners.values())
        gone = [self._links.pop(node) for node in set(self._links) - nodes]
        for node in nodes - set(self._links):
            watch = self.watch
            own = None if watch is None else StoreWatch(watch.seed, is_forgetful=watch.is_forgetful, key="")
            settings = replace(self._settings, watch=own)
            link = StoreLink(self._nodes.url_of(node), self._scripts, clock=self._clock, settings=settings)
            self._links[node] = link
            await link.start()
        self._owners = owners
        for link in gone:
            await link.stop()


class SlotLink:
    """The way to one slot; what `GatheredCalls` takes for a link."""

    def __init__(self, cluster: StoreCluster, slot: int) -> None:
        self._cluster = cluster
        self._slot = slot
        watch = cluster.watch
        self.watch = None if watch is None else _slot_watch(watch, slot)

    @property
    def is_connected(self) -> bool:
        """Whether a call made now would be sent."""
        owner = self._cluster.owner(self._slot)
        if owner is not None and owner.is_connected:
            return True
        self._cluster.read_map_again()
        return False

    @property
    def is_stalled(self) -> bool:
        """Whether the owner has left a call unanswered for too long."""
        owner = self._cluster.owner(self._slot)
        return owner is not None and owner.is_stalled

    async def start(self) -> None:
        """Do nothing: the cluster starts its links."""

    async def stop(self) -> None:
        """Do nothing: the cluster stops its links."""

    @property
    def doubt(self) -> str:
        """Why the slot cannot be trusted to remember; see `StoreWatch.doubt`."""
        owner = self._cluster.owner(self._slot)
        on_node = owner.watch.doubt if owner is not None and owner.watch is not None else ""
        return (self.watch.lost if self.watch is not None else "") or on_node

    def submit(
        self, script: str, keys: Sequence[str], args: Sequence[str | int], deadline: float
    ) -> asyncio.Future[list[Any]]:
        """Send one call to the slot's owner; see `StoreLink.submit`."""
        owner = self._cluster.owner(self._slot)
        if owner is None:
            raise StoreUnavailable(Unavailability.NOT_CONNECTED)
        reply = owner.submit(script, keys, args, deadline, self.watch)
        reply.add_done_callback(self._look_at)
        return reply

    def _look_at(self, reply: asyncio.Future[list[Any]]) -> None:
        if not reply.cancelled() and reply.exception() is not None:
            self._cluster.read_map_again()


def _slot_watch(watch: StoreWatch, slot: int) -> StoreWatch:
    return StoreWatch(watch.seed, is_forgetful=watch.is_forgetful, key=epoch_key(slot))
