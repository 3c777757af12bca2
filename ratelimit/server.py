"""Puts the rate-limit service together; `app` is what Envoy's Python filter runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from chassis.access_log import STREAM_METHOD
from chassis.asgi_host import AsgiHost
from chassis.clock import Clock, SystemClock
from chassis.ids import RandomIds
from chassis.listen import HostOptions
from chassis.logs import setup_logging
from chassis.metrics import ServiceMetrics
from chassis.policy_service import PolicyService, ServiceParts
from chassis.record import DecisionLog
from chassis.service import Service
from chassis.settings import read_host_options
from chassis.store_watch import StoreWatch
from policy.settings import MEMORY_STORE, ServiceSettings, read_settings
from ratelimit.descriptors.assembly import ServiceMeans, open_descriptors
from ratelimit.leased import LeasedLedger
from ratelimit.ledger import Ledger
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.outcomes import OutcomeReader
from ratelimit.pipeline import Engine
from ratelimit.reasons import Reason
from ratelimit.recording import PLAIN_FIELDS, Recorder
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD, RateLimitServicer
from ratelimit.settling import Settling
from ratelimit.sources import open_sources
from ratelimit.store_ledger import StoreLedger
from ratelimit.warnings import QuotaWarnings
from ratelimit.window import Windows

NAME: Final = "ratelimit"


def open_store(settings: ServiceSettings, clock: Clock) -> Ledger:
    """Return the counter store that the settings name; raises ValueError for one that no store understands."""
    if settings.store == MEMORY_STORE:
        return MemoryLedger(clock)
    watch = StoreWatch(RandomIds().decision_id(), is_forgetful=settings.single_replica)
    ledger = StoreLedger.from_url(settings.store, clock, replace(settings.store_settings(), watch=watch))
    return LeasedLedger(ledger, clock, RandomIds())


def build(settings: ServiceSettings, clock: Clock | None = None) -> PolicyService[Any]:
    """Build the service; nothing is read or opened before `start`."""
    clock = clock or SystemClock()
    metrics = ServiceMetrics(NAME, reasons=[*(reason.code for reason in Reason), "store_failure_allowed"])
    store = open_store(settings, clock)
    decision_log = DecisionLog(settings.decision_log, on_lost=metrics.records_lost, plain_fields=PLAIN_FIELDS)
    sources = open_sources(settings, metrics, clock)
    engine = Engine(store, Windows(), clock)
    recorder = Recorder(decision_log, metrics, clock, QuotaWarnings(metrics.registry, clock))
    quotas = RateLimitServicer(sources.tables, engine, recorder, ids=RandomIds(), errors_uri=settings.errors_uri)
    means = ServiceMeans(clock, metrics, recorder)
    descriptors = open_descriptors(settings, sources.descriptor_set, quotas, means)

    settling = Settling(OutcomeReader(sources.tables), store, clock, metrics.registry)

    def warnings() -> tuple[str, ...]:
        # Not a reason to be unready: quotas say themselves what holds without a store.
        away = () if store.is_available else ("the counter store is not connected",)
        return (
            *away,
            *(store.warnings() if store.is_available else ()),
            *descriptors.warnings(),
            *settings.store_warnings(),
        )

    service: PolicyService[Any] = PolicyService(
        NAME,
        {SHOULD_RATE_LIMIT_METHOD: descriptors.servicer.should_rate_limit},
        metrics.registry,
        ServiceParts(
            sources.first,
            decision_log,
            (store, settling, *descriptors.background()),
            lambda: (),
            warnings,
            {SHOULD_RATE_LIMIT_METHOD: quotas.shed},
            sources.others,
            {STREAM_METHOD: settling.collect},
        ),
    )
    metrics.watch_store(lambda: store.is_available)
    metrics.watch_store_doubt(lambda: store.is_doubted)
    return service


def _make() -> tuple[Service, HostOptions]:
    settings = read_settings()
    setup_logging(NAME, level=settings.log_level)
    return build(settings), read_host_options()


app = AsgiHost(_make)
