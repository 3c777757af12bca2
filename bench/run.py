"""One benchmark run: policy sets and requests laid out, servers started side by side, measured, ended."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cases import (
    COLD,
    DESCRIPTORS,
    DPOP,
    EXTAUTHZ,
    FLOOR,
    FLOOR_DESCRIPTORS,
    LEVELS,
    MAX_PROCESSES,
    RATELIMIT,
    WARM,
    cases_of,
    shape_of,
)
from bench.crowd import counters_of_one, fill, store_megabytes
from bench.measure import Effort, Subject, measure
from bench.payloads import TokenIssuer, framed, request_messages, running_issuer
from bench.peers import Peer, check_answers
from bench.policy_sets import write_descriptors, write_policy_set
from bench.report import Row
from bench.servers import BenchFailed, ServerProcess, Target
from chassis.clock import SystemClock
from tollhouse.embedded_store import EmbeddedStore, EmbeddedStoreFailed

_ANY: Final = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Attributes:
        services: Of `extauthz`, `ratelimit`.
        transports: Of `envoy`, `grpcio`.
        cases: Cases wanted; those that a service lacks are skipped, the floor is always measured.
        in_flight: Of 1, 16, 64.
        peers: Other servers, measured along with the first transport.
        seconds: Of one round.
        rounds: Of each row.
        store: URL of a store for ratelimit; empty starts one.
        issuer_port: Where the key set is served, for peers that must know it beforehand; 0 is any.
        program: h2load.
    """

    services: tuple[str, ...]
    transports: tuple[str, ...]
    cases: tuple[str, ...]
    in_flight: tuple[int, ...]
    peers: tuple[Peer, ...]
    seconds: float
    rounds: int
    store: str
    issuer_port: int
    program: str


async def run_bench(options: Options, report: Callable[[str], None]) -> list[Row]:
    """Measure everything that was asked for; nothing is left behind, whichever way it ends.

    Raises:
        BenchFailed: A server cannot be started.
    """
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollhouse-bench-")))
        issuer = stack.enter_context(running_issuer(options.issuer_port))
        store = options.store
        if not store and (RATELIMIT in options.services or DPOP in options.cases):
            try:
                store = (await stack.enter_async_context(EmbeddedStore())).url
            except EmbeddedStoreFailed as error:
                raise BenchFailed(str(error)) from error
        bench = _Bench(options, root, issuer, store)
        rows: list[Row] = []
        for service in options.services:
            for transport in options.transports:
                rows += await bench.measure(service, transport, report)
        return rows


@dataclass(frozen=True, slots=True)
class _Place:
    """What a case is served from: its directory, its store, and what a counter takes there when it is crowded."""

    directory: Path
    store: str
    counter_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class _Bench:
    options: Options
    root: Path
    issuer: TokenIssuer
    store: str

    async def measure(self, service: str, transport: str, report: Callable[[str], None]) -> list[Row]:
        """Measure one service on one transport at all levels."""
        options = self.options
        cases = [case for case in cases_of(service) if case == FLOOR or case in options.cases]
        effort = Effort(options.seconds, options.rounds, options.program, self.root)
        rows: list[Row] = []
        report(f"{service} on {transport}: starting {', '.join(cases)}")
        async with self._running(service, transport, cases) as subjects:
            if transport == options.transports[0]:
                subjects += await self._peers(service)
            for in_flight in options.in_flight:
                rows += await measure(subjects, LEVELS[in_flight], effort, report)
        return rows

    @asynccontextmanager
    async def _running(self, service: str, transport: str, cases: list[str]) -> AsyncIterator[list[Subject]]:
        async with AsyncExitStack() as stack:
            places = [await self._laid_out(service, case, transport, stack) for case in cases]
            servers = [self._server(service, case, transport, place) for case, place in zip(cases, places, strict=True)]
            for server in servers:
                stack.push_async_callback(server.stop)
            targets = await asyncio.gather(*(server.start() for server in servers))
            subjects = [
                self._subject(service, case, transport, target, place.counter_bytes)
                for case, target, place in zip(cases, targets, places, strict=True)
            ]
            if DESCRIPTORS in cases:
                subjects.insert(1, self._subject(service, FLOOR_DESCRIPTORS, transport, targets[0]))
            yield subjects

    async def _laid_out(self, service: str, case: str, transport: str, stack: AsyncExitStack) -> _Place:
        """Write what a case is served from; a crowded one gets a store of its own."""
        directory = self.root / f"{service}-{case}-{transport}"
        directory.mkdir()
        shape = shape_of(service, case)
        policies = directory / "policies"
        if shape.has_descriptors:
            write_descriptors(policies)
        else:
            write_policy_set(policies, shape, issuer=self.issuer.url, jwks_uri=self.issuer.jwks_uri)
        if not shape.crowd:
            return _Place(directory, self.store)
        own = await stack.enter_async_context(EmbeddedStore(max_memory_megabytes=store_megabytes()))
        entries = await asyncio.to_thread(counters_of_one, policies, SystemClock().wall())
        return _Place(directory, own.url, await fill(own.url, entries, shape.crowd))

    def _server(self, service: str, case: str, transport: str, place: _Place) -> ServerProcess:
        directory, shape = place.directory, shape_of(service, case)
        policies = directory / "policies"
        decision_log = str(directory / "decisions.jsonl")
        if case in (FLOOR, COLD, DPOP):
            asked = {"service": service, "case": case, "transport": transport}
            asked |= {"store": place.store if case == DPOP else ""}
            asked |= {"policies": str(policies), "decision_log": decision_log}
            return ServerProcess((sys.executable, "-m", "bench.serve", json.dumps(asked)), directory, transport)
        words = {
            "--descriptors" if shape.has_descriptors else "--policies": str(policies),
            "--listen": _ANY,
            "--admin": _ANY,
            "--transport": transport,
            "--decision-log": decision_log,
            "--log-level": "WARNING",
            **({"--store": place.store} if service == RATELIMIT else {}),
        }
        arguments = [word for option in words.items() for word in option]
        return ServerProcess((sys.executable, "-m", "tollhouse", "serve", service, *arguments), directory, transport)

    def _subject(
        self, service: str, case: str, transport: str, target: Target, counter_bytes: float | None = None
    ) -> Subject:
        directory = self.root / f"requests-{service}-{case}-{transport}"
        directory.mkdir()
        messages = request_messages(service, self.issuer, shape_of(service, case), MAX_PROCESSES)
        bodies = []
        for index, message in enumerate(messages):
            body = directory / f"request-{index:02d}.bin"
            body.write_bytes(framed(message))
            bodies.append(body)
        return Subject(service, case, transport, target, tuple(bodies), counter_bytes)

    async def _peers(self, service: str) -> list[Subject]:
        subjects = [self._subject(service, WARM, peer.name, peer.target) for peer in self.options.peers]
        for subject in subjects:
            await asyncio.to_thread(check_answers, service, subject.target, subject.bodies)
        return subjects


def services_of(name: str | None) -> tuple[str, ...]:
    """Return the services that a word of the command line stands for."""
    return {None: (EXTAUTHZ, RATELIMIT), "check": (EXTAUTHZ,), "ratelimit": (RATELIMIT,)}[name]
