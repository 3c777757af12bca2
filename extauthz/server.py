"""Puts the ext_authz service together; `app` is what Envoy's Python filter runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from chassis.asgi_host import AsgiHost
from chassis.clock import Clock, SystemClock
from chassis.http_client import HttpClient
from chassis.ids import RandomIds
from chassis.listen import HostOptions
from chassis.logs import setup_logging
from chassis.metrics import ServiceMetrics
from chassis.policy_service import Background, PolicyService, ServiceParts
from chassis.record import DecisionLog
from chassis.service import Service
from chassis.settings import read_host_options
from extauthz.changes import loosened
from extauthz.compile import compile_tables
from extauthz.introspection.asking import Introspector
from extauthz.introspection.clients import CredentialFiles
from extauthz.introspection.metrics import register_introspection
from extauthz.introspection.rules import IssuerAsking
from extauthz.operator_means import Operator
from extauthz.reasons import Reason
from extauthz.recording import PLAIN_FIELDS, Recorder
from extauthz.servicer import CHECK_METHOD, AuthorizationServicer
from extauthz.tables import Tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.key_metrics import register_keys
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.key_snapshots import KeySnapshots
from extauthz.wire import Stamp
from policy.card_keys import CardKeyring
from policy.live import Compiled, Compiler, live_policy
from policy.loader import PolicySet
from policy.settings import ServiceSettings, read_settings

NAME: Final = "extauthz"

log = logging.getLogger(NAME)


class KeyringLog:
    """Writes down which card keys come into force, and when cards lose their counts by it."""

    def __init__(self) -> None:
        self._told: CardKeyring | None = None

    def tell(self, keyring: CardKeyring | None) -> None:
        """Log what an operator waits for on every replica before the next step of a rotation."""
        before, self._told = self._told, keyring
        if keyring is None:
            return
        log.info("card keys in force, current first: %s", ", ".join(keyring.key_ids))
        if before is not None and not keyring.counts_on_from(before):
            log.warning("card keys loosen: no key of before is in force any more, so each card counts from nothing")


def build(settings: ServiceSettings, clock: Clock | None = None) -> PolicyService[Compiled[Tables]]:
    """Build the service; nothing is read or opened before `start`."""
    clock = clock or SystemClock()
    metrics = ServiceMetrics(NAME, reasons=[*(reason.code for reason in Reason), "review"])
    http = HttpClient()
    snapshots = KeySnapshots(settings.jwks_snapshot) if settings.jwks_snapshot else None
    keys = KeySets(http, clock, snapshots)
    register_keys(metrics.registry, keys)
    cache = ClaimsCache()
    decision_log = DecisionLog(settings.decision_log, on_lost=metrics.records_lost, plain_fields=PLAIN_FIELDS)
    operator = Operator(settings, clock)
    credentials = CredentialFiles(settings.client_credentials_dir)
    # A client of its own: an endpoint that hangs takes no connection from the fetching of keys.
    asking_http = HttpClient()
    asking = IssuerAsking(Introspector(asking_http, keys, clock, RandomIds()), credentials)
    register_introspection(metrics.registry, asking.introspector)

    def compile_(policy: PolicySet) -> Tables:
        given = replace(operator.means(), asking=asking)
        return compile_tables(policy, keys=keys, cache=cache, clock=clock, given=given)

    keyrings = KeyringLog()

    def adopt(tables: Tables) -> None:
        keys.follow(tables.gate.providers)
        keyrings.tell(tables.keyring)
        operator.marks.adopt(tables.gate.providers, are_requests_signed=tables.are_requests_signed)
        operator.follow_revocations(is_needed=tables.gate.revocation is not None)

    def warnings() -> tuple[str, ...]:
        return (*keys.warnings(), *operator.warnings(), *credentials.warnings())

    def fingerprint() -> str:
        return f"{operator.fingerprint()} {credentials.fingerprint()}"

    compiler = Compiler(compile_, loosened, adopt, fingerprint)
    reloader = live_policy(Path(settings.policies), compiler, metrics, clock)

    def waiting_for() -> tuple[str, ...]:
        return (*keys.readiness(), *operator.waiting_for())

    def active() -> Tables | None:
        return reloader.current.tables if reloader.is_loaded else None

    recorder = Recorder(decision_log, metrics, clock)
    stamp = Stamp("", "", settings.errors_uri, settings.realm)
    servicer = AuthorizationServicer(active, recorder, clock=clock, ids=RandomIds(), stamp=stamp)
    operator.attach(active, metrics.registry)
    background: tuple[Background, ...] = (http, keys, asking_http, asking.introspector, *operator.background)
    service: PolicyService[Compiled[Tables]] = PolicyService(
        NAME,
        {CHECK_METHOD: servicer.check},
        metrics.registry,
        ServiceParts(reloader, decision_log, background, waiting_for, warnings, {CHECK_METHOD: servicer.shed}),
    )
    if operator.marks.store is not None:
        metrics.watch_store(operator.marks.is_available)
    return service


def _make() -> tuple[Service, HostOptions]:
    settings = read_settings()
    setup_logging(NAME, level=settings.log_level)
    return build(settings), read_host_options()


app = AsgiHost(_make)
