"""Every token issuer's keys, for the whole life of the process and across policy reloads.

A request waits for a fetch only when no keys have arrived yet, when they are past their age, or
for a kid that nobody has seen; never longer than its own deadline allows. Everything else happens
in the background.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.http_client import HttpClient
from extauthz.model import Deny, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens import refusals
from extauthz.tokens.issuer_keys import Held, IssuerKeys
from extauthz.tokens.key_snapshots import KeyDocument, KeySnapshots, SnapshotRefused
from extauthz.tokens.keys import VerificationKey
from extauthz.tokens.providers import CompiledProvider, KeySource

TICK_SECONDS = 1.0
WAIT_PART = 0.8
"""Part of the time left that a request may wait; the rest is for rendering the answer."""
RETRY_AFTER_SECONDS = 5
SAVE_PATIENCE_SECONDS = 2.0
"""How long a stop waits for a disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and the generation of the set it came from."""

    key: VerificationKey
    generation: int


@dataclass(frozen=True, slots=True)
class KeyState:
    """What a scrape learns about one provider's keys.

    Attributes:
        provider: Its id in providers.yaml.
        is_usable: Tokens can be verified.
        seconds_past_age: How long ago the keys should have been refreshed; 0 while they are fresh.
        seconds_left: How long the keys there are may be used if the issuer stays away.
        failures: Failed fetches of this process.
        skipped: Keys of the set that are not used.
    """

    provider: str
    is_usable: bool
    seconds_past_age: float
    seconds_left: float
    failures: int
    skipped: int


class KeySets:
    """Keys of all followed issuers. Used on one event loop.

    Args:
        http: Fetches documents.
        clock: Monotonic time for ages, wall time for snapshots.
        snapshots: Keeps keys on disk; None where none are kept.
    """

    def __init__(self, http: HttpClient, clock: Clock, snapshots: KeySnapshots | None = None) -> None:
        self._http = http
        self._clock = clock
        self._snapshots = snapshots
        self._save_fault = ""
        """Why keys could not be written the last time; empty when they were."""
        self._saving: asyncio.Task[None] | None = None
        self._generations = itertools.count(1)
        self._issuers: dict[KeySource, IssuerKeys] = {}
        self._retired: list[IssuerKeys] = []
        self._followed: dict[KeySource, CompiledProvider] = {}
        self._required: frozenset[KeySource] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start refreshing in the background; returns at once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="token-key-refresh")

    async def stop(self) -> None:
        """End the background work and every fetch; the HTTP client stays open, it is the caller's."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        for issuer in (*self._issuers.values(), *self._retired):
            await issuer.stop()
        self._retired.clear()
        self._start_saving()
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=SAVE_PATIENCE_SECONDS)
            self._saving.cancel()

    def follow(self, providers: Iterable[CompiledProvider]) -> None:
        """Take over the issuers of a policy snapshot: keep what is known, forget who is gone."""
        # Envoy has the keys of the tokens that it verifies.
        wanted = {provider.source: provider for provider in providers if provider.payload_key is None}
        for source, provider in wanted.items():
            self._entry(provider).times = provider.times
            log.debug("token_issuer_followed issuer=%s", source.issuer)
        for source in self._issuers.keys() - wanted.keys():
            self._retired.append(self._issuers.pop(source))
        if not self._followed:
            self._required = frozenset(wanted)
            self._restore(wanted.values())
        self._followed = wanted

    def _restore(self, providers: Iterable[CompiledProvider]) -> None:
        """Take over what an earlier process left; at a start alone, for a reload there is no earlier process."""
        if self._snapshots is None:
            return
        for provider in providers:
            issuer = self._entry(provider)
            try:
                document = self._snapshots.read(provider)
                if document is not None and issuer.held is None:
                    issuer.restore(document)
            except SnapshotRefused as refusal:
                log.warning("token_keys_snapshot_refused issuer=%s reason=%s", provider.issuer, refusal)

    def readiness(self) -> tuple[str, ...]:
        """Say, in words, which keys must arrive before calls may come.

        Only issuers of the first snapshot count: a reload that names an issuer that is away must
        not take the gate away from the callers of all others.
        """
        required = self._followed.keys() & self._required
        return tuple(sorted(f"keys of token issuer {issuer}" for issuer in self._never_loaded(required)))

    def warnings(self) -> tuple[str, ...]:
        """Say, in words, what should be looked at: keys that are old, of a snapshot, missing, or secret."""
        now = self._clock.monotonic()
        known = [self._issuers[source] for source in self._followed]
        past = [issuer for issuer in known if issuer.held is not None and now >= issuer.held.fresh_until]
        old = [issuer.source.issuer for issuer in past if not issuer.is_restored]
        restored = [issuer.source.issuer for issuer in past if issuer.is_restored]
        new = self._never_loaded(self._followed.keys() - self._required)
        leaking = [each.source.issuer for each in known if each.held is not None and each.held.keys.is_leaking]
        return (
            *(f"keys of token issuer {issuer} are past their age" for issuer in sorted(old)),
            *(f"keys of token issuer {issuer} are of a snapshot" for issuer in sorted(restored)),
            *(f"keys of token issuer {issuer} have not arrived" for issuer in sorted(new)),
            *(f"token issuer {issuer} publishes a secret key; it is not used" for issuer in sorted(leaking)),
            *([f"key snapshots: {self._save_fault}"] if self._save_fault else ()),
        )

    def states(self) -> tuple[KeyState, ...]:
        """Describe every followed provider's keys."""
        now = self._clock.monotonic()
        return tuple(_state(provider, self._issuers[source], now) for source, provider in self._followed.items())

    def _never_loaded(self, sources: Iterable[KeySource]) -> list[str]:
        """Return the issuers without keys; keys of a snapshot count once the issuer was asked and did not answer."""
        issuers = [self._issuers[source] for source in sources]
        return [each.source.issuer for each in issuers if each.held is None or (each.is_restored and not each.failures)]

    def generation(self, provider: CompiledProvider) -> int | None:
        """Return the generation of keys that may be used without waiting, or None. Cheap."""
        issuer = self._issuers.get(provider.source)
        held = issuer.usable() if issuer is not None else None
        return held.generation if held is not None else None

    async def find(
        self, provider: CompiledProvider, kid: str | None, algorithm: str, deadline: float
    ) -> FoundKey | Deny | Unavailable:
        """Return the key for a token header.

        Args:
            provider: Whose token it claims to be.
            kid: Header `kid`.
            algorithm: Canonical name, already checked against the provider's list.
            deadline: On `Clock.monotonic()`.
        """
        held = await self.settled(provider, deadline)
        if isinstance(held, Unavailable):
            return held
        key = held.keys.find(kid, algorithm)
        if key is not None:
            return FoundKey(key, held.generation)
        return await self._find_unknown(self._entry(provider), kid, algorithm, deadline)

    async def settled(self, provider: CompiledProvider, deadline: float) -> Held | Unavailable:
        """Return keys that may be used, after a shared fetch where there are none yet or they are old."""
        issuer = self._entry(provider)
        held = issuer.usable()
        if held is not None:
            return held
        if issuer.is_due() or issuer.is_fetching():
            await issuer.wait_for_refresh(self._patience(deadline))
        return issuer.last_good() or _unavailable("no token issuer keys within their bound")

    async def _find_unknown(
        self, issuer: IssuerKeys, kid: str | None, algorithm: str, deadline: float
    ) -> FoundKey | Deny | Unavailable:
        """Look for a kid that may have been published a moment ago (OIDC Core section 10.1.1)."""
        is_joining = issuer.is_fetching()
        if is_joining or issuer.may_ask_for(kid, algorithm):
            if not await issuer.wait_for_refresh(self._patience(deadline)):
                return _unavailable("token issuer keys did not arrive in time")
            held = issuer.last_good()
            key = held.keys.find(kid, algorithm) if held is not None else None
            if held is not None and key is not None:
                return FoundKey(key, held.generation)
            if not issuer.failures and not is_joining:
                # Only a fetch that began after the token came proves that its key is not published.
                issuer.remember_unknown(kid, algorithm)
        if issuer.failures:
            # The key may exist; that we cannot ask is no fault of the caller.
            return _unavailable("unknown kid while the token issuer is away")
        return refusals.invalid("no such key")

    def _patience(self, deadline: float) -> float:
        return (deadline - self._clock.monotonic()) * WAIT_PART

    def _entry(self, provider: CompiledProvider) -> IssuerKeys:
        # A request of a snapshot that has just been replaced may still ask for an issuer that is gone.
        issuer = self._issuers.get(provider.source)
        if issuer is None:
            issuer = IssuerKeys(
                provider.source,
                provider.times,
                http=self._http,
                clock=self._clock,
                next_generation=self._generations.__next__,
            )
            self._issuers[provider.source] = issuer
        return issuer

    async def refresh_due(self) -> None:
        """Refresh every followed issuer whose schedule asks for it, all at once."""
        fetches = self._start_due()
        if fetches:
            await asyncio.wait(fetches)

    def _start_due(self) -> set[asyncio.Task[None]]:
        followed = [self._issuers[source] for source in self._followed]
        return {issuer.refresh() for issuer in followed if issuer.is_due()}

    async def _run(self) -> None:
        while True:
            retired, self._retired = self._retired, []
            for issuer in retired:
                await issuer.stop()
            # Not awaited: one issuer that hangs must not hold up the others.
            self._start_due()
            self._start_saving()
            await asyncio.sleep(TICK_SECONDS)

    def _start_saving(self) -> None:
        """Write what has arrived, in a thread; while a disk hangs nothing more is given to it."""
        if self._snapshots is None or (self._saving is not None and not self._saving.done()):
            return
        arrived = [(provider, self._issuers[source].take_unsaved()) for source, provider in self._followed.items()]
        changed = [(provider, document) for provider, document in arrived if document is not None]
        if changed:
            self._saving = asyncio.get_running_loop().create_task(self._save(self._snapshots, changed))

    async def _save(self, snapshots: KeySnapshots, changed: Iterable[tuple[CompiledProvider, KeyDocument]]) -> None:
        for provider, document in changed:
            try:
                await asyncio.to_thread(snapshots.write, provider, document)
                self._save_fault = ""
            except SnapshotRefused as refusal:
                self._save_fault = str(refusal)
                log.warning("token_keys_snapshot_failed issuer=%s reason=%s", provider.issuer, refusal)


def _state(provider: CompiledProvider, issuer: IssuerKeys, now: float) -> KeyState:
    held = issuer.held
    past_age = 0.0 if held is None else max(0.0, now - held.fresh_until)
    left = 0.0 if held is None else max(0.0, held.fresh_until + issuer.times.stale - now)
    skipped = 0 if held is None else len(held.keys.skipped)
    return KeyState(provider.id, left > 0, past_age, left, issuer.all_failures, skipped)


def _unavailable(detail: str) -> Unavailable:
    return Unavailable(Reason.TOKEN_ISSUER_UNAVAILABLE, detail, RETRY_AFTER_SECONDS)
