"""Replicas of both services behind the reference Envoy, with store, issuer and upstream, as real processes.

Every part can be ended in order, killed, paused and started again while payments flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helpers import life_parts
from helpers.issuer import SigningKey
from helpers.life_load import Load, Tokens
from helpers.life_policy import write_policies
from helpers.valkey import administrator
from tollhouse.embedded_store import EmbeddedStore
from tollhouse.probe import LOOPBACK, get_json, get_text, wait_until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import read_reference
from tollhouse.up.stack import envoy_command

SERVICES = ("extauthz", "ratelimit")
STORE, ENVOY, ISSUER, UPSTREAM = "store", "envoy", "issuer", "upstream"
_READY_SECONDS = 45.0


def free_ports(number: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Replica:
    """One process of a service."""

    child: Child
    port: int
    admin_port: int
    decisions: Path


@dataclass
class Fleet:
    """The running parts.

    Attributes:
        directory: Logs, decision records, configuration.
        policies: The policy set that all replicas serve.
        services: The replicas of each service.
        parts: Envoy, issuer and upstream.
    """

    directory: Path
    transport: str | None
    replicas: int = 1
    services: dict[str, list[Replica]] = field(default_factory=dict)
    parts: dict[str, Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.port, self.admin_port, self.issuer_port, self.upstream_port = free_ports(4)
        self.store = EmbeddedStore()
        self.key = SigningKey("ES256")
        self.policies = write_policies(self.directory / "policies", self.issuer_url)
        self.journal = self.directory / "journal"

    @property
    def issuer_url(self) -> str:
        return f"http://{LOOPBACK}:{self.issuer_port}"

    def child(self, part: str) -> Child:
        """Return the process of a part; of a service, its first replica."""
        return self.services[part][0].child if part in self.services else self.parts[part]

    def load(self, **options: Any) -> Load:
        """Return a load on this gate; it runs once it is entered."""
        url = f"http://{LOOPBACK}:{self.port}/v1/payments"
        return Load(url, self.journal, Tokens(self.key, self.issuer_url), **options)

    async def start(self) -> None:
        await self.store.start()
        self._declare()
        everything = [*self.parts.values(), *(one.child for group in self.services.values() for one in group)]
        for child in everything:
            await child.start()
        for group in self.services.values():
            for one in group:
                await self.wait_ready(one)
        await self.wait_part(ENVOY)
        await self.wait_envoy_sees(self.replicas)

    async def stop(self) -> None:
        for pid in self.stoppable():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)  # what a test has left paused
        await self.parts[ENVOY].kill()
        replicas = [one for group in self.services.values() for one in group]
        await asyncio.gather(*(one.child.stop() for one in replicas))
        await asyncio.gather(*(self.parts[name].kill() for name in (ISSUER, UPSTREAM)))
        await self.store.close()

    def stoppable(self) -> list[int]:
        """Return the process ids of every part with all below it."""
        children = [*self.parts.values(), *(one.child for group in self.services.values() for one in group)]
        pids = [pid for child in children for pid in tree(child)]
        return pids + ([self.store.pid] if self.store.pid is not None else [])

    async def wait_ready(self, replica: Replica) -> None:
        """Wait until a replica says that it is ready."""
        await _must(lambda: get_text(replica.admin_port, "/readyz") is not None, replica.child)

    async def wait_part(self, name: str) -> None:
        """Wait until Envoy, the issuer or the upstream answers."""
        asked = {ENVOY: (self.admin_port, "/ready"), ISSUER: (self.issuer_port, "/jwks.json")}
        port, path = asked.get(name, (self.upstream_port, "/ready"))
        await _must(lambda: get_text(port, path) is not None, self.parts[name])

    async def wait_envoy_sees(self, number: int, service: str | None = None) -> None:
        """Wait until Envoy sends calls to this many replicas of each service, or of one."""
        names = SERVICES if service is None else (service,)
        await _must(lambda: all(self._healthy(name) == number for name in names), self.parts[ENVOY])

    def revision(self, replica: Replica) -> str:
        """Return the policy revision that a replica serves."""
        return str(get_json(replica.admin_port, "/policy").get("revision"))

    async def wait_revision_is_not(self, before: str) -> None:
        """Wait until all replicas serve one revision, another than before."""
        replicas = [one for group in self.services.values() for one in group]

        def is_new() -> bool:
            found = {self.revision(one) for one in replicas}
            return len(found) == 1 and before not in found

        await _must(is_new, replicas[0].child)

    async def charged(self) -> int:
        """Return how many payments the store counts, all merchants together."""
        async with administrator(self.store.url) as client:
            keys = [key async for key in client.scan_iter("tollhouse:*:per_day:*")]
            return sum(int(count or 0) for count in await client.mget(keys)) if keys else 0

    def _healthy(self, service: str) -> int:
        text = get_text(self.admin_port, "/clusters") or ""
        return len(re.findall(rf"^{service}::\S+::health_flags::healthy$", text, re.MULTILINE))

    def _declare(self) -> None:
        jwks = self.directory / "jwks.json"
        jwks.write_text(json.dumps({"keys": [self.key.jwk()]}), "utf-8")
        script = (sys.executable, life_parts.__file__)
        self._add(ISSUER, (*script, "issuer", str(self.issuer_port), str(jwks)))
        self._add(UPSTREAM, (*script, "upstream", str(self.upstream_port), str(self.journal)))
        for name in SERVICES:
            self.services[name] = [self._replica(name, number) for number in range(self.replicas)]
        configuration = self.directory / "envoy.yaml"
        configuration.write_text(self._envoy_configuration(), "utf-8")
        command = envoy_command(configuration)
        self.parts[ENVOY] = self._child(ENVOY, command, self.directory / "access.jsonl")

    def _add(self, name: str, command: tuple[str, ...]) -> None:
        self.parts[name] = self._child(name, command)

    def _replica(self, service: str, number: int) -> Replica:
        port, admin_port = free_ports(2)
        name = f"{service}-{number}"
        decisions = self.directory / f"{name}.jsonl"
        options = {
            "--policies": str(self.policies),
            "--listen": f"{LOOPBACK}:{port}",
            "--admin": f"{LOOPBACK}:{admin_port}",
            "--decision-log": str(decisions),
            **({"--transport": self.transport} if self.transport else {}),
            **({"--store": self.store.url} if service == "ratelimit" else {}),
        }
        words = [word for option in options.items() for word in option]
        command = (sys.executable, "-m", "tollhouse", "serve", service, *words)
        return Replica(self._child(name, command), port, admin_port, decisions)

    def _child(self, name: str, command: tuple[str, ...], output: Path | None = None) -> Child:
        return Child(ChildSpec(name, command, self.directory / f"{name}.log", output), lambda _: None)

    def _envoy_configuration(self) -> str:
        """Return envoy/tollhouse.yaml on these ports, each service cluster with one endpoint a replica."""
        document = yaml.safe_load(read_reference())
        document["admin"]["address"]["socket_address"]["port_value"] = self.admin_port
        (listener,) = document["static_resources"]["listeners"]
        listener["address"]["socket_address"]["port_value"] = self.port
        wanted = {name: [one.port for one in group] for name, group in self.services.items()}
        wanted["payments_upstream"] = [self.upstream_port]
        for cluster in document["static_resources"]["clusters"]:
            cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": _endpoints(wanted[cluster["name"]])}]
        return yaml.safe_dump(document, sort_keys=False)


def _endpoints(ports: list[int]) -> list[dict[str, Any]]:
    return [{"endpoint": {"address": {"socket_address": {"address": LOOPBACK, "port_value": port}}}} for port in ports]


@contextlib.asynccontextmanager
async def running_fleet(directory: Path, *, transport: str | None = None, replicas: int = 1) -> AsyncIterator[Fleet]:
    """A fleet that serves inside the block."""
    fleet = Fleet(directory, transport, replicas)
    try:
        await fleet.start()
        yield fleet
    finally:
        await fleet.stop()


async def _must(claim: Callable[[], bool], child: Child) -> None:
    await wait_until(lambda: claim() or not child.is_running, _READY_SECONDS)
    lines = "\n".join(child.last_lines())
    assert await asyncio.to_thread(claim), f"{child.spec.name} is not ready:\n{lines}"


def tree(child: Child) -> list[int]:
    """Return a running child's process id and those of all processes below it."""
    return [] if child.pid is None else list(_below(child.pid))


def _below(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for number in (task / "children").read_text("ascii").split():
                found += _below(int(number))
    return found


def signal_tree(child: Child, number: signal.Signals) -> None:
    """Send a signal to a child and all below it, as the end or the freezing of a container would."""
    for pid in tree(child):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
