"""The running key set of one token issuer: when to fetch, what to keep, when to stop using it.

All times are on `Clock.monotonic()`. One fetch at a time; everybody who needs it waits for the
same one, and giving up the wait does not end the fetch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.http_client import FetchFailed, HttpClient
from extauthz.tokens.discovery import FetchedKeys, discover_jwks_uri, fetch_keys
from extauthz.tokens.key_snapshots import KeyDocument, SnapshotRefused
from extauthz.tokens.keys import JwksInvalid, KeySet, read_jwks
from extauthz.tokens.providers import KeySource, KeyTimes

MIN_AGE_SECONDS = 60.0
"""Whatever a `Cache-Control` says, keys are not fetched more often because of their age."""
REFRESH_AT = 0.8
"""Part of the age after which a refresh starts, so that the next set is there before this one is old."""
MAX_BACKOFF_SECONDS = 60.0
METADATA_AGE_SECONDS = 3600.0
"""How long discovery's answer counts: an issuer that moves its keys may leave the old address to somebody else."""
CLOCK_TOLERANCE_SECONDS = 60.0
"""How far ahead of this clock a snapshot may have been written."""
UNKNOWN_KID_SECONDS = 120.0
"""Short, because issuers sign with a new key a moment before everybody can fetch it."""
MAX_UNKNOWN_KIDS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """Keys that have arrived.

    Attributes:
        keys: The set.
        generation: Changes whenever the set does; unique in the process.
        fresh_until: When a refresh should have happened.
    """

    keys: KeySet
    generation: int
    fresh_until: float


class IssuerKeys:
    """Keys of one source, with its schedule.

    Attributes:
        source: Where the keys come from.
        times: How long they live; a reload may change it.
        held: The last good keys, or None before the first.
        failures: Failed fetches since the last good one.
        all_failures: Failed fetches of this process.
        is_restored: The keys are of an earlier process, and no fetch of this one has succeeded.
    """

    def __init__(
        self, source: KeySource, times: KeyTimes, *, http: HttpClient, clock: Clock, next_generation: Callable[[], int]
    ) -> None:
        self.source = source
        self.times = times
        self.held: Held | None = None
        self.failures = 0
        self.all_failures = 0
        self.is_restored = False
        self._http = http
        self._clock = clock
        self._next_generation = next_generation
        self._jwks_uri: str | None = None
        self._discovered_at = float("-inf")
        self._unsaved: KeyDocument | None = None
        self._last_attempt = float("-inf")
        self._due_at = float("-inf")
        self._unknown: OrderedDict[tuple[str | None, str], float] = OrderedDict()
        self._fetch: asyncio.Task[None] | None = None

    def usable(self) -> Held | None:
        """Return the keys that may be used without waiting for anything, or None.

        Fresh keys, or old ones within the stale bound while the issuer is known to be away.
        """
        held = self.held
        if held is None:
            return None
        now = self._clock.monotonic()
        if now < held.fresh_until:
            return held
        return held if self.failures and now < held.fresh_until + self.times.stale else None

    def last_good(self) -> Held | None:
        """Return the keys within age and stale bound together, or None."""
        held = self.held
        if held is None or self._clock.monotonic() >= held.fresh_until + self.times.stale:
            return None
        return held

    def is_due(self) -> bool:
        """Tell whether the schedule asks for a refresh; it knows no cool-down, so no flood can hold it up."""
        return self._clock.monotonic() >= self._due_at

    def is_fetching(self) -> bool:
        """Tell whether a fetch is under way."""
        return self._fetch is not None and not self._fetch.done()

    def may_ask_for(self, kid: str | None, algorithm: str) -> bool:
        """Tell whether a token with this unknown kid may cause a fetch now."""
        now = self._clock.monotonic()
        if now < self._last_attempt + self.times.unknown_kid_cooldown:
            return False
        seen = self._unknown.get((kid, algorithm))
        return seen is None or now >= seen + UNKNOWN_KID_SECONDS

    def remember_unknown(self, kid: str | None, algorithm: str) -> None:
        """Remember that a fresh set did not hold this kid; the oldest memory goes first."""
        self._unknown[(kid, algorithm)] = self._clock.monotonic()
        self._unknown.move_to_end((kid, algorithm))
        if len(self._unknown) > MAX_UNKNOWN_KIDS:
            self._unknown.popitem(last=False)

    def refresh(self) -> asyncio.Task[None]:
        """Return the fetch under way, or start one; the task itself never raises."""
        if self._fetch is None or self._fetch.done():
            # Stamped before the outcome is known: a failed fetch counts as an attempt.
            self._last_attempt = self._clock.monotonic()
            self._fetch = asyncio.get_running_loop().create_task(self._refresh(), name="token-keys")
        return self._fetch

    async def wait_for_refresh(self, seconds: float) -> bool:
        """Wait for the shared fetch, not longer than `seconds`; tell whether it ended."""
        done, _ = await asyncio.wait({self.refresh()}, timeout=max(0.0, seconds))
        return bool(done)

    async def stop(self) -> None:
        """End a fetch under way."""
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.wait({self._fetch})

    async def _refresh(self) -> None:
        try:
            fetched = await fetch_keys(self._http, self.source, await self._discovered_uri())
        except FetchFailed as error:
            self._failed(error.reason)
        except Exception:
            log.exception("token_keys_refresh_crashed issuer=%s", self.source.issuer)
            self._failed("internal error")
        else:
            self._arrived(fetched)

    async def _discovered_uri(self) -> str:
        now = self._clock.monotonic()
        if self._jwks_uri is None or now >= self._discovered_at + METADATA_AGE_SECONDS:
            self._jwks_uri, self._discovered_at = await discover_jwks_uri(self._http, self.source), now
        return self._jwks_uri

    def restore(self, document: KeyDocument) -> None:
        """Take over keys that an earlier process fetched; nothing may have arrived yet.

        They count as past their age, so that they serve only once the issuer was asked and did not answer, and
        not longer than they would have served in the process that fetched them.

        Raises:
            SnapshotRefused: Too old, of the future, or no key set.
        """
        now = self._clock.wall()
        if document.fetched_at > now + CLOCK_TOLERANCE_SECONDS:
            raise SnapshotRefused("was written in the future")
        past_age = max(0.0, now - document.fetched_at - self._age(document.max_age))
        if past_age >= self.times.stale:
            raise SnapshotRefused("is too old")
        try:
            keys = read_jwks(document.body)
        except JwksInvalid:
            raise SnapshotRefused("holds no key set") from None
        self.held = Held(keys, self._next_generation(), self._clock.monotonic() - past_age)
        self.is_restored = True
        log.info("token_keys_restored issuer=%s names=%d", self.source.issuer, len(keys.by_name))

    def take_unsaved(self) -> KeyDocument | None:
        """Return what has arrived since the last call, or None."""
        document, self._unsaved = self._unsaved, None
        return document

    def _age(self, max_age: float | None) -> float:
        return self.times.max_age if max_age is None else min(max(max_age, MIN_AGE_SECONDS), self.times.max_age)

    def _arrived(self, fetched: FetchedKeys) -> None:
        now, keys = self._clock.monotonic(), fetched.keys
        age = self._age(fetched.max_age)
        self._unsaved = KeyDocument(fetched.body, self._clock.wall(), fetched.max_age)
        self.is_restored = False
        is_same = self.held is not None and self.held.keys.fingerprint == keys.fingerprint
        generation = self.held.generation if self.held is not None and is_same else self._next_generation()
        if not is_same:
            log.info("token_keys_loaded issuer=%s names=%d", self.source.issuer, len(keys.by_name))
            for reason in keys.skipped:
                log.warning("token_key_skipped issuer=%s reason=%s", self.source.issuer, reason)
        self.held = Held(keys, generation, now + age)
        self.failures = 0
        self._due_at = now + age * REFRESH_AT

    def _failed(self, reason: str) -> None:
        now = self._clock.monotonic()
        self.failures += 1
        self.all_failures += 1
        # The address may have moved; metadata is read again with the next attempt.
        self._jwks_uri = None
        # A failed fetch that a token caused while the keys are fresh leaves the schedule as it is.
        self._due_at = max(self._due_at, now + min(2.0 ** min(self.failures, 10), MAX_BACKOFF_SECONDS))
        log.warning("token_keys_refresh_failed issuer=%s reason=%s", self.source.issuer, reason)
