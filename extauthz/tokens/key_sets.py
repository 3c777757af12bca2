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
from extauthz.tokens.keys import VerificationKey
from extauthz.tokens.providers import CompiledProvider, KeySource

TICK_SECONDS = 1.0
WAIT_PART = 0.8
"""Part of the time left that a request may wait; the rest is for rendering the answer."""
RETRY_AFTER_SECONDS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and the generation of the set it came from."""

    key: VerificationKey
    generation: int


class KeySets:
    """Keys of all followed issuers. Used on one event loop."""

    def __init__(self, http: HttpClient, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._generations = itertools.count(1)
        self._issuers: dict[KeySource, IssuerKeys] = {}
        self._retired: list[IssuerKeys] = []
        self._followed: frozenset[KeySource] = frozenset()
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

    def follow(self, providers: Iterable[CompiledProvider]) -> None:
        """Take over the issuers of a policy snapshot: keep what is known, forget who is gone."""
        wanted = {provider.source: provider for provider in providers}
        for source, provider in wanted.items():
            self._entry(provider).times = provider.times
            log.debug("token_issuer_followed issuer=%s", source.issuer)
        for source in self._issuers.keys() - wanted.keys():
            self._retired.append(self._issuers.pop(source))
        if not self._followed:
            self._required = frozenset(wanted)
        self._followed = frozenset(wanted)

    def readiness(self) -> tuple[str, ...]:
        """Say, in words, which keys must arrive before calls may come.

        Only issuers of the first snapshot count: a reload that names an issuer that is away must
        not take the gate away from the callers of all others.
        """
        required = self._followed & self._required
        return tuple(sorted(f"keys of token issuer {issuer}" for issuer in self._never_loaded(required)))

    def warnings(self) -> tuple[str, ...]:
        """Say, in words, whose keys are past their age, or have not arrived since a reload."""
        now = self._clock.monotonic()
        held = [(source.issuer, self._issuers[source].held) for source in self._followed]
        old = [issuer for issuer, keys in held if keys is not None and now >= keys.fresh_until]
        new = self._never_loaded(self._followed - self._required)
        return (
            *(f"keys of token issuer {issuer} are past their age" for issuer in sorted(old)),
            *(f"keys of token issuer {issuer} have not arrived" for issuer in sorted(new)),
        )

    def _never_loaded(self, sources: frozenset[KeySource]) -> list[str]:
        return [source.issuer for source in sources if self._issuers[source].held is None]

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
            await asyncio.sleep(TICK_SECONDS)


def _unavailable(detail: str) -> Unavailable:
    return Unavailable(Reason.TOKEN_ISSUER_UNAVAILABLE, detail, RETRY_AFTER_SECONDS)
