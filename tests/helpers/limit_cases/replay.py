"""Replays rate-limit cases over real gRPC: one server, one store, the service's own steps; only wall time is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.json_format import MessageToDict
from prometheus_client import CollectorRegistry

from chassis.clock import SystemClock
from chassis.grpcio_server import serve_grpcio
from chassis.ids import RandomIds
from chassis.listen import HostOptions, ListenAddress
from chassis.metrics import ServiceMetrics
from chassis.service import Readiness
from helpers.limit_cases import files
from helpers.valkey import administrator, running
from policy.descriptors.tree import DescriptorSet
from policy.diagnostics import PolicyInvalid
from protos import envoy_wire_pb2 as wire
from ratelimit.descriptors.engine import DescriptorEngine
from ratelimit.descriptors.held_over import HeldOver
from ratelimit.descriptors.model import EngineOptions
from ratelimit.descriptors.servicer import DescriptorService, DomainServicer, Engines
from ratelimit.descriptors.statistics import DescriptorStatistics
from ratelimit.descriptors.store_tally import StoreTally
from ratelimit.descriptors.stores import TallyStores
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.pipeline import Engine
from ratelimit.recording import Recorder
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD, RateLimitServicer
from ratelimit.window import Windows

NOW = 1_700_000_000.0
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_OPTIONS = HostOptions(listen=ListenAddress.parse("127.0.0.1:0"), lame_duck_seconds=0.0, drain_seconds=0.5)
_CODES = {"OK": wire.RateLimitResponse.OK, "OVER_LIMIT": wire.RateLimitResponse.OVER_LIMIT}
_UNITS = wire.RateLimitResponse.RateLimit.Unit


class CaseClock(SystemClock):
    """Wall time stands still until a case moves it; deadlines are real."""

    def __init__(self) -> None:
        self.now = NOW

    def wall(self) -> float:
        return self.now


@dataclass
class _NoRecords:
    """A record sink that keeps nothing."""

    def write(self, record: Mapping[str, Any]) -> None:
        pass


@dataclass
class LimitStack:
    """A gRPC server whose servicer each case replaces."""

    clock: CaseClock
    store: StoreTally
    admin: Any
    name: str = "ratelimit"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    sheds: Mapping[str, Any] = field(default_factory=dict)
    streams: Mapping[str, Any] = field(default_factory=dict)
    servicer: DomainServicer | None = None
    statistics: DescriptorStatistics | None = None
    rules: DescriptorSet | None = None
    channel: grpc.aio.Channel | None = None

    @property
    def methods(self) -> Mapping[str, Any]:
        return {SHOULD_RATE_LIMIT_METHOD: self._handle}

    async def _handle(self, message: bytes, deadline: float) -> bytes:
        assert self.servicer is not None
        return await self.servicer.should_rate_limit(message, deadline)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def readiness(self) -> Readiness:
        return Readiness(True)

    def policy_status(self) -> dict[str, Any]:
        return {}

    def settle(self, options: EngineOptions) -> None:
        """Begin a case: a servicer with these options and no memory."""
        metrics = ServiceMetrics("ratelimit", reasons=())
        self.statistics = DescriptorStatistics(metrics.registry, options.near_ratio)
        held = HeldOver(options.local_cache_keys, is_compat=options.is_compat)
        engine = DescriptorEngine(TallyStores(self.store), options, self.clock, self.statistics, held)
        recorder = Recorder(_NoRecords(), metrics, self.clock)  # type: ignore[arg-type]
        quotas = RateLimitServicer(
            lambda: None,
            Engine(MemoryLedger(self.clock), Windows(), self.clock),
            recorder,
            ids=RandomIds(),
            errors_uri="https://errors.test",
        )
        engines = Engines(engine, engine)
        service = DescriptorService(lambda: self.rules, engines, recorder, RandomIds(), "https://errors.test")
        self.servicer = DomainServicer(quotas, service)

    async def send(self, message: bytes) -> wire.RateLimitResponse:
        assert self.channel is not None
        call = self.channel.unary_unary(SHOULD_RATE_LIMIT_METHOD)
        return wire.RateLimitResponse.FromString(await call(message, timeout=20))


@asynccontextmanager
async def limit_stack(server: str) -> AsyncIterator[LimitStack]:
    """Serve on a free port, with a store of the given kind."""
    async with running(server) as embedded, administrator(embedded.url) as admin:
        clock = CaseClock()
        store = StoreTally.from_url(embedded.url, clock)
        stack = LimitStack(clock, store, admin)
        await store.start()
        bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_grpcio(lambda: stack, _OPTIONS, stop=stop, on_ready=bound.set_result))
        try:
            async with grpc.aio.insecure_channel(await bound) as channel:
                stack.channel = channel
                yield stack
        finally:
            stop.set()
            await serving
            await store.stop()


@dataclass
class Report:
    """What a run found: the cases executed, and for each that disagreed the first difference."""

    executed: list[str] = field(default_factory=list)
    disagreed: dict[str, str] = field(default_factory=dict)


async def replay(stack: LimitStack, cases: Mapping[str, Mapping[str, Any]], *, is_compat: bool) -> Report:
    """Run cases one after another, each with empty counters."""
    report = Report()
    for case_id, case in cases.items():
        report.executed.append(case_id)
        try:
            difference = await _case(stack, case, is_compat=is_compat)
        except PolicyInvalid as error:
            difference = f"refused at load: {error}"
        if difference:
            report.disagreed[case_id] = difference
    return report


async def _case(stack: LimitStack, case: Mapping[str, Any], *, is_compat: bool) -> str:
    await stack.admin.flushall()
    settings = case.get("settings", {})
    stack.clock.now = float(case.get("clock", NOW))
    stack.rules = None
    if not case.get("no_config"):
        merges = settings.get("merge_domains", False)
        stack.rules = files.read(files.documents(case, is_compat=is_compat), is_compat=is_compat, merges=merges)
    stack.settle(engine_options(settings, is_compat=is_compat))
    for place, step in enumerate(case["steps"]):
        difference = await _step(stack, step, is_compat=is_compat)
        if difference:
            return f"step {place + 1}: {difference}"
    return await _afterwards(stack, case, is_compat=is_compat)


def engine_options(settings: Mapping[str, Any], *, is_compat: bool) -> EngineOptions:
    return EngineOptions(
        is_compat=is_compat,
        allows_unknown_domain=is_compat,
        on_store_failure="error" if is_compat else "deny",
        key_prefix=settings.get("key_prefix", ""),
        jitter_seconds=0,
        local_cache_keys=1000 if settings.get("local_cache") else 0,
        stops_when_over=settings.get("stop_increment_when_over", False),
        is_shadow=settings.get("global_shadow", False),
        is_quota=settings.get("global_quota", False),
        header_names=HEADERS if settings.get("headers") else (),
        has_metadata=settings.get("dynamic_metadata", False),
    )


async def _step(stack: LimitStack, step: Mapping[str, Any], *, is_compat: bool) -> str:
    if "advance" in step:
        stack.clock.now += step["advance"]
        return ""
    if "reload" in step:
        try:
            stack.rules = files.read(files.reloaded(step), is_compat=is_compat)
        except PolicyInvalid as error:
            return "" if step.get("rejected") else f"refused at reload: {error}"
        return "a broken file was accepted" if step.get("rejected") else ""
    message = request_of(step).SerializeToString()
    for time in range(step.get("times", 1)):
        try:
            response = await stack.send(message)
        except grpc.aio.AioRpcError as error:
            difference = _compare_error(step["expect"], error)
        else:
            difference = compare(step["expect"], response, time)
        if difference:
            return f"call {time + 1}: {difference}"
    return ""


def request_of(step: Mapping[str, Any]) -> wire.RateLimitRequest:
    request = wire.RateLimitRequest(domain=step["domain"], hits_addend=step.get("hits", 0))
    for written in step["descriptors"]:
        descriptor = request.descriptors.add()
        shape = {"e": written} if isinstance(written, list) else written
        for key, value in shape["e"]:
            descriptor.entries.add(key=key, value=value)
        if "hits" in shape:
            descriptor.hits_addend.value = shape["hits"]
        if "override" in shape:
            count, unit = shape["override"]
            descriptor.limit.requests_per_unit = count
            descriptor.limit.unit = wire.RateLimitUnit.Value(unit.upper())
    return request


def _compare_error(expect: Mapping[str, Any], error: grpc.aio.AioRpcError) -> str:
    found = (error.code(), error.details())
    wanted = (grpc.StatusCode.UNKNOWN, expect.get("error"))
    return "" if found == wanted else f"error {found}, not {wanted}"


def compare(expect: Mapping[str, Any], response: wire.RateLimitResponse, time: int) -> str:
    """The first difference between an answer and what a case says of it."""
    if "error" in expect:
        return f"{wire.RateLimitResponse.Code.Name(response.overall_code)}, not an error"
    if "overall" in expect and response.overall_code != _CODES[expect["overall"]]:
        return f"overall {wire.RateLimitResponse.Code.Name(response.overall_code)}, not {expect['overall']}"
    statuses = expect.get("statuses", [])
    if statuses and len(statuses) != len(response.statuses):
        return f"{len(response.statuses)} statuses, not {len(statuses)}"
    for wanted, status in zip(statuses, response.statuses, strict=False):
        found = _shown(status)
        wanted = _wanted(wanted, time)
        differences = {name: (found.get(name), value) for name, value in wanted.items() if found.get(name) != value}
        if differences:
            return f"status differs (found, wanted): {differences}"
    return _compare_extras(expect, response)


def _shown(status: wire.RateLimitResponse.DescriptorStatus) -> dict[str, Any]:
    limit = status.current_limit if status.HasField("current_limit") else None
    return {
        "code": wire.RateLimitResponse.Code.Name(status.code),
        "limit": None if limit is None else [limit.requests_per_unit, _UNITS.Name(limit.unit)],
        "name": "" if limit is None else limit.name,
        "remaining": status.limit_remaining,
        "reset": status.duration_until_reset.seconds if status.HasField("duration_until_reset") else None,
    }


def _wanted(written: Mapping[str, Any], time: int) -> dict[str, Any]:
    if written.get("no_limit") or written.get("unlimited"):
        remaining = 4294967295 if written.get("unlimited") else 0
        return {"code": "OK", "limit": None, "remaining": remaining, "reset": None}
    wanted = dict(written)
    if "limit" in wanted:
        wanted["limit"] = [wanted["limit"][0], wanted["limit"][1].upper()]
    if isinstance(wanted.get("remaining"), dict):
        wanted["remaining"] = wanted["remaining"]["from"] + time * wanted["remaining"]["step"]
    return wanted


def _compare_extras(expect: Mapping[str, Any], response: wire.RateLimitResponse) -> str:
    headers = {header.key: header.value for header in response.response_headers_to_add}
    if "headers" in expect:
        wanted = dict(zip(HEADERS, expect["headers"] or (), strict=False))
        if headers != wanted:
            return f"headers {headers}, not {wanted}"
    metadata = MessageToDict(response.dynamic_metadata)
    if "echo" in expect and [each["entries"] for each in metadata["descriptors"]] != expect["echo"]:
        return f"echoed {metadata['descriptors']}"
    if "metadata" in expect and metadata.get("metadata", {}) != expect["metadata"]:
        return f"metadata {metadata.get('metadata')}, not {expect['metadata']}"
    return ""


async def _afterwards(stack: LimitStack, case: Mapping[str, Any], *, is_compat: bool) -> str:
    if "counters" in case:
        found = {key.decode(): int(await stack.admin.get(key)) for key in await stack.admin.keys()}
        wanted: Any = case["counters"]
        if not is_compat:
            # Named otherwise on purpose; how many there are and what they hold is compared all the same.
            found, wanted = sorted(found.values()), sorted(wanted.values())
        if found != wanted:
            return f"counters {found}, not {wanted}"
    assert stack.statistics is not None
    for rule, wanted in case.get("stats", {}).items():
        counted = stack.statistics.read(rule)
        if {name: counted.get(name, 0) for name in wanted} != wanted:
            return f"statistics of {rule}: {counted}, not {wanted}"
    return ""


def refusals(cases: Sequence[Mapping[str, Any]], *, is_compat: bool) -> dict[str, str]:
    """Read files that must be refused; return what was accepted, or refused in other words."""
    wrong: dict[str, str] = {}
    for case in cases:
        try:
            files.read(case["documents"], is_compat=is_compat)
        except PolicyInvalid as error:
            if is_compat and case["message_has"] not in str(error):
                wrong[case["id"]] = str(error)
        else:
            wrong[case["id"]] = "accepted"
    return wrong
