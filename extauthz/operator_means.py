"""What the operator gives this service besides its policy set: key files and the store for used proofs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from chassis.admin_access import AdminToken
from chassis.clock import Clock
from extauthz.compile import OperatorMeans
from extauthz.events.metrics import EventMetrics
from extauthz.events.pages import EventMeans
from extauthz.events.reader import EventReader
from extauthz.events.service import EventService
from extauthz.events.sink import RevocationSink
from extauthz.tables import Tables
from extauthz.tokens.nonces import NonceKeyFile
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.replay import MemoryReplays, ReplayStore
from extauthz.tokens.revocation_feed import RevocationFeed
from extauthz.tokens.revocation_metrics import register_revocations
from extauthz.tokens.revocations import MemoryRevocations
from extauthz.tokens.store_replays import StoreReplays
from extauthz.tokens.store_revocations import StoreRevocations
from policy.card_keys import CardKeyFile
from policy.settings import MEMORY_STORE, ServiceSettings


class Operator:
    """The files and the store that the settings name.

    Attributes:
        marks: The store for used proofs.
        revocations: Which tokens were revoked; None without `--store`.
        events: Takes events of token issuers, once `attach` was called.
    """

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._card_keys = CardKeyFile(settings.card_key_file)
        self._nonce_keys = NonceKeyFile(settings.dpop_nonce_key_file)
        self.marks = ProofMarks(settings, clock)
        self.revocations = open_revocations(settings, clock)
        self.events: EventService | None = None

    def means(self) -> OperatorMeans:
        """Read what a policy set is compiled with; raises SecretInvalid for a file that cannot be used."""
        return OperatorMeans(self._card_keys.read(), self.marks.store, self._nonce_keys.read(), self.revocations)

    def follow_revocations(self, *, is_needed: bool) -> None:
        """Keep up with the list of revoked tokens while the policy set in force asks for it; after `marks.adopt`."""
        self.marks.is_needed = self.marks.is_needed or is_needed
        if self.revocations is not None:
            self.revocations.need(is_needed=is_needed)

    def attach(self, active: Callable[[], Tables | None], registry: CollectorRegistry) -> None:
        """Have events taken where the settings name an address, and show what scrapes learn of revocations.

        Args:
            active: Returns the policy set in force, None before the first load.
            registry: Of the service.
        """
        if self.revocations is not None:
            register_revocations(registry, self.revocations)

        def reader() -> EventReader | None:
            tables = active()
            return None if tables is None else tables.events

        means, path = None, self._settings.events_push_token_file
        if self._settings.events and self.revocations is not None:
            sink, token = RevocationSink(self.revocations, self._clock), AdminToken(path) if path else None
            means = EventMeans(reader, sink, self._clock, EventMetrics(registry), token)
        self.events = EventService(self._settings, reader, means)

    def waiting_for(self) -> tuple[str, ...]:
        """Return what is missing before calls may come, in words."""
        return () if self.revocations is None else self.revocations.waiting_for()

    @property
    def background(self) -> tuple[ReplayStore | RevocationFeed | EventService, ...]:
        """What is started and stopped with the service; the listener last, once there is where to write."""
        parts = (self.revocations, self.events)
        return (*self.marks.background, *(part for part in parts if part is not None))

    def fingerprint(self) -> str:
        """Return what changes whenever a file does."""
        return f"{self._card_keys.fingerprint()} {self._nonce_keys.fingerprint()}"

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although the service is ready."""
        revocations = () if self.revocations is None else self.revocations.warnings()
        events = () if self.events is None else self.events.warnings()
        files = (*self._card_keys.warnings(), *self._nonce_keys.warnings())
        return (*files, *self.marks.warnings(), *revocations, *events)


class ProofMarks:
    """The store for used DPoP proofs and signatures, if the operator gave one.

    Attributes:
        store: Where marks are set; None without `--store`.
        is_needed: The policy set in force makes use of the store.
    """

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self.store = open_replays(settings, clock)
        self.is_needed = False

    def adopt(self, providers: Iterable[CompiledProvider], *, are_requests_signed: bool = False) -> None:
        """Learn what the policy set in force needs."""
        are_proofs_checked = any(provider.dpop and provider.dpop.is_replay_checked for provider in providers)
        self.is_needed = are_proofs_checked or are_requests_signed

    def is_available(self) -> bool:
        """Tell whether marks can be set."""
        return self.store is not None and self.store.is_available

    @property
    def background(self) -> tuple[ReplayStore, ...]:
        """What is started and stopped with the service."""
        return () if self.store is None else (self.store,)

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although the service is ready."""
        if self.store is None:
            return ()
        found = [] if self.is_needed else ["a store is set, and the policy set has no proofs or signatures remembered"]
        if not self.store.is_available:
            found.append("the store for used DPoP proofs and signatures is not connected: they are answered with 503")
        if self._settings.store == MEMORY_STORE:
            found.append("used DPoP proofs and signatures are remembered by this process alone, until it ends")
        return (*found, *self._settings.store_warnings())


def open_replays(settings: ServiceSettings, clock: Clock) -> ReplayStore | None:
    """Return the store for used proofs, or None without one; raises ValueError for a URL that is not understood."""
    if not settings.store:
        return None
    if settings.store == MEMORY_STORE:
        return MemoryReplays(clock)
    return StoreReplays.from_url(settings.store, clock, settings.store_settings())


def open_revocations(settings: ServiceSettings, clock: Clock) -> RevocationFeed | None:
    """Return the list of revoked tokens, or None without a store; raises ValueError as `open_replays`."""
    if not settings.store:
        return None
    if settings.store == MEMORY_STORE:
        return RevocationFeed(MemoryRevocations(clock), clock)
    return RevocationFeed(StoreRevocations.from_url(settings.store, clock, settings.store_settings()), clock)
