"""Puts the ext_authz service together; `app` is what Envoy's Python filter runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from chassis.asgi_host import AsgiHost
from chassis.clock import Clock, SystemClock
from chassis.http_client import HttpClient
from chassis.ids import RandomIds
from chassis.listen import HostOptions
from chassis.logs import setup_logging
from chassis.metrics import ServiceMetrics
from chassis.policy_service import PolicyService, ServiceParts
from chassis.record import DecisionLog
from chassis.secret_file import exposure_of
from chassis.service import Service
from chassis.settings import read_host_options
from chassis.store_link import StoreSettings
from chassis.store_url import StoreLogin
from extauthz.card_keys import CardKeyFile, CardKeyring
from extauthz.changes import loosened
from extauthz.compile import OperatorMeans, compile_tables
from extauthz.reasons import Reason
from extauthz.recording import PLAIN_FIELDS, Recorder
from extauthz.servicer import CHECK_METHOD, AuthorizationServicer
from extauthz.tables import Tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.key_metrics import register_keys
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.key_snapshots import KeySnapshots
from extauthz.tokens.nonces import NonceKeyFile
from extauthz.tokens.replay import MemoryReplays, ReplayStore
from extauthz.tokens.store_replays import StoreReplays
from extauthz.wire import Stamp
from policy.live import Compiled, Compiler, live_policy
from policy.loader import PolicySet
from policy.settings import ServiceSettings, read_settings

NAME: Final = "extauthz"
MEMORY_STORE: Final = "memory:"

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


class ProofMarks:
    """The store for used DPoP proofs, if the operator gave one.

    Attributes:
        store: Where marks are set; None without `--store`.
        is_needed: The policy set in force has used proofs remembered.
    """

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self.store = open_replays(settings, clock)
        self.is_needed = False

    @property
    def background(self) -> tuple[ReplayStore, ...]:
        """What is started and stopped with the service."""
        return () if self.store is None else (self.store,)

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although the service is ready."""
        if self.store is None:
            return ()
        found = [] if self.is_needed else ["a store is set, and no provider of the policy set has proofs remembered"]
        if not self.store.is_available:
            found.append("the store for used DPoP proofs is not connected: they are answered with 503")
        if self._settings.store == MEMORY_STORE:
            found.append("used DPoP proofs are remembered by this process alone, until it ends")
        exposure = exposure_of(self._settings.store_password_file) if self._settings.store_password_file else None
        return (*found, *((exposure,) if exposure else ()))


def open_replays(settings: ServiceSettings, clock: Clock) -> ReplayStore | None:
    """Return the store for used proofs, or None without one; raises ValueError for a URL that is not understood."""
    if not settings.store:
        return None
    if settings.store == MEMORY_STORE:
        return MemoryReplays(clock)
    login = StoreLogin(settings.store_password_file, settings.store_username) if settings.store_password_file else None
    return StoreReplays.from_url(settings.store, clock, StoreSettings(login=login))


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
    card_key_file = CardKeyFile(settings.card_key_file)
    nonce_key_file = NonceKeyFile(settings.dpop_nonce_key_file)
    marks = ProofMarks(settings, clock)

    def compile_(policy: PolicySet) -> Tables:
        given = OperatorMeans(card_key_file.read(), marks.store, nonce_key_file.read())
        return compile_tables(policy, keys=keys, cache=cache, clock=clock, given=given)

    keyrings = KeyringLog()

    def adopt(tables: Tables) -> None:
        keys.follow(tables.gate.providers)
        keyrings.tell(tables.keyring)
        marks.is_needed = any(provider.dpop and provider.dpop.is_replay_checked for provider in tables.gate.providers)

    def warnings() -> tuple[str, ...]:
        return (*keys.warnings(), *card_key_file.warnings(), *nonce_key_file.warnings(), *marks.warnings())

    compiler = Compiler(
        compile=compile_,
        loosened=loosened,
        adopt=adopt,
        fingerprint=lambda: f"{card_key_file.fingerprint()} {nonce_key_file.fingerprint()}",
    )
    reloader = live_policy(Path(settings.policies), compiler, metrics, clock)

    def active() -> Tables | None:
        return reloader.current.tables if reloader.is_loaded else None

    recorder = Recorder(decision_log, metrics, clock)
    stamp = Stamp("", "", settings.errors_uri, settings.realm)
    servicer = AuthorizationServicer(active, recorder, clock=clock, ids=RandomIds(), stamp=stamp)
    service: PolicyService[Compiled[Tables]] = PolicyService(
        NAME,
        {CHECK_METHOD: servicer.check},
        metrics.registry,
        ServiceParts(
            reloader,
            decision_log,
            (http, keys, *marks.background),
            keys.readiness,
            warnings,
            {CHECK_METHOD: servicer.shed},
        ),
    )
    if marks.store is not None:
        metrics.watch_store(lambda: marks.store is not None and marks.store.is_available)
    return service


def _make() -> tuple[Service, HostOptions]:
    settings = read_settings()
    setup_logging(NAME, level=settings.log_level)
    return build(settings), read_host_options()


app = AsgiHost(_make)
