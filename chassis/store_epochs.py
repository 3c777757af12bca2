"""The epochs of a cluster's slots, one key in each: written once for all, and again when an operator accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import Any, Final

from redis.crc import key_slot

from chassis.store_nodes import SLOTS, ClusterNodes, Node
from chassis.store_places import close
from chassis.store_watch import EPOCH_KEY, accept_empty, birth, born_at

_AT_ONCE: Final = 1024
_STARTING_TOGETHER_SECONDS: Final = 60.0


@cache
def _tags() -> tuple[str, ...]:
    """Return a hash tag for each slot, the same in every process: the least number that falls into it."""
    tags: dict[int, str] = {}
    for number in count():
        tags.setdefault(key_slot(str(number).encode()), str(number))
        if len(tags) == SLOTS:
            return tuple(tags[slot] for slot in range(SLOTS))
    raise AssertionError("unreachable: numbers have no end")


def epoch_key(slot: int) -> str:
    """Return the name of a slot's epoch, which lies in that slot."""
    return f"tollhouse:epoch:{{{_tags()[slot]}}}"


async def birth_slots(nodes: ClusterNodes, owners: Mapping[int, Node], seed: str) -> None:
    """Give each slot of a new cluster an epoch.

    The cluster's own epoch is written last: while it is missing, processes that start together all give epochs to the
    slots that have none; from then on nobody does, and a slot without one was emptied. Where it is missing and some
    slot has had an epoch for long, the node that held it was emptied: nothing is written.

    Raises:
        RedisError: A node broke off or refused.
    """
    home = await nodes.connect(owners[key_slot(EPOCH_KEY.encode())])
    try:
        await home.send_command("GET", EPOCH_KEY)
        if await home.read_response(disable_decoding=True) is not None:
            return
        epoch = await birth(home, seed, is_written=False)
        if not await _is_older(nodes, owners, born_at(epoch) - _STARTING_TOGETHER_SECONDS):
            await _write(nodes, owners, epoch, "NX")
            await birth(home, seed)
    finally:
        await close(home)


async def _is_older(nodes: ClusterNodes, owners: Mapping[int, Node], seconds: float) -> bool:
    """Tell whether some node has an epoch from before a time; its first slot stands for all of its slots."""
    firsts = {node: slot for slot, node in sorted(owners.items(), reverse=True)}
    for node, slot in firsts.items():
        connection = await nodes.connect(node)
        try:
            await connection.send_command("GET", epoch_key(slot))
            found = await connection.read_response(disable_decoding=True)
        finally:
            await close(connection)
        if found is not None and born_at(found) < seconds:
            return True
    return False


async def accept_empty_slots(nodes: ClusterNodes, seed: str, operator: str, reason: str) -> dict[str, str]:
    """Accept a cluster as it is; see `accept_empty`. The record stands before the first slot is accepted."""
    owners = await nodes.read_map()
    home = await nodes.connect(owners[key_slot(EPOCH_KEY.encode())])
    try:
        record = await accept_empty(home, seed, operator, reason)
    finally:
        await close(home)
    await _write(nodes, owners, record["epoch"].encode())
    return record


async def _write(nodes: ClusterNodes, owners: Mapping[int, Node], epoch: bytes, *condition: str) -> None:
    for node in sorted(set(owners.values())):
        connection = await nodes.connect(node)
        try:
            slots = [slot for slot, owner in owners.items() if owner == node]
            for first in range(0, len(slots), _AT_ONCE):
                await _write_some(connection, slots[first : first + _AT_ONCE], epoch, condition)
        finally:
            await close(connection)


async def _write_some(connection: Any, slots: list[int], epoch: bytes, condition: tuple[str, ...]) -> None:
    commands = [("SET", epoch_key(slot), epoch, *condition) for slot in slots]
    await connection.send_packed_command(connection.pack_commands(commands))
    for _ in slots:
        await connection.read_response(disable_decoding=True)
