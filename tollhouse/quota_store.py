"""What `tollhouse quota` asks the store: how the quotas of a merchant stand, and to begin one of them anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from chassis.clock import SystemClock
from chassis.store_cluster import StoreCluster
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable
from chassis.store_nodes import is_cluster
from chassis.store_url import has_password
from policy.settings import MEMORY_STORE
from ratelimit.ledger import CounterFault, Kind
from ratelimit.pipeline import Engine
from ratelimit.posting import resets_key
from ratelimit.resets import Reset, StoreResets, reset_scripts
from ratelimit.store_ledger import StoreLedger, ledger_scripts
from ratelimit.tables import Tables
from ratelimit.usage import Usage, usage_of
from ratelimit.window import Windows
from tollhouse.serve import EMBEDDED_STORE
from tollhouse.store_command import StoreRefused

_WITHIN_SECONDS: Final = 5.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store while a command runs.

    Attributes:
        engine: Reads through the service's own ledger.
        resets: Over the same link.
    """

    engine: Engine
    resets: StoreResets

    async def usage(self, tables: Tables, merchant_id: str) -> list[Usage]:
        """Return how the quotas of a merchant stand."""
        return await usage_of(tables, merchant_id, self.deadline, self.engine)

    @property
    def deadline(self) -> float:
        """Until when an answer is waited for, from now on."""
        return self.engine.clock.monotonic() + _WITHIN_SECONDS


def with_store(url: str, settings: StoreSettings, work: Callable[[OpenStore], Awaitable[_Result]]) -> _Result:
    """Do something with the store of the counters.

    Raises:
        StoreRefused: The URL is none, or the store gave no answer.
    """
    if url in (MEMORY_STORE, EMBEDDED_STORE):
        raise StoreRefused(
            "--store must be the store that the replicas count in; nobody else sees memory: or embedded:"
        )
    if has_password(url):
        raise StoreRefused("--store holds a password; put it in a file and name that with --store-password-file")
    try:
        return asyncio.run(_run(url, settings, work))
    except StoreUnavailable as error:
        raise StoreRefused(f"the store gave no answer: {error.reason}") from error
    except CounterFault as error:
        raise StoreRefused(f"the store holds something else: {error}") from error


async def _run(url: str, settings: StoreSettings, work: Callable[[OpenStore], Awaitable[_Result]]) -> _Result:
    clock = SystemClock()
    kind = StoreCluster if is_cluster(url) else StoreLink
    try:
        link = kind(url, {**ledger_scripts(), **reset_scripts()}, clock=clock, settings=settings)
    except ValueError as error:
        raise StoreRefused(f"--store: {error}") from error
    ledger = StoreLedger(link, clock)
    await ledger.start()
    try:
        return await work(OpenStore(Engine(ledger, Windows(), clock), StoreResets(link, clock)))
    finally:
        await ledger.stop()


async def reset_quota(
    store: OpenStore, tables: Tables, merchant_id: str, quota_id: str, words: dict[str, str]
) -> dict[str, str]:
    """Begin the current window of one quota anew; return the record that was written.

    Args:
        store: Where it is counted.
        tables: The policy; it knows the merchant.
        merchant_id: Whose quota.
        quota_id: Which one.
        words: `operator` and `reason`, for the record.

    Raises:
        StoreRefused: The quota is none of the merchant's, or not one that can begin anew.
    """
    found = [usage for usage in await store.usage(tables, merchant_id) if usage.limit.quota == quota_id]
    if not found:
        raise StoreRefused("--quota: no quota of this merchant has that id")
    why = next((why for usage in found if (why := why_not_reset(usage))), "")
    if why:
        raise StoreRefused(f"the quota is not reset: {why}")
    used = ", ".join(str(usage.state.used) for usage in found if usage.state is not None)
    record = {**words, "merchant": merchant_id, "quota": quota_id, "used": used, "policy_revision": tables.revision}
    keys = [usage.key for usage in found]
    return await store.resets.reset(Reset(resets_key(merchant_id), keys, record), store.deadline)


def why_not_reset(usage: Usage) -> str:
    """Return why a counter cannot be set to nothing; empty when it can."""
    limit = usage.limit
    if limit.is_single:
        return "it compares each payment by itself and counts nothing"
    if limit.scope != "merchant":
        return f"its counter belongs to the {limit.scope}; raise the value in quotas.yaml instead"
    if limit.is_held:
        return "payments whose outcome is open would be given back from what is counted afterwards; raise it for a time"
    if limit.kind is Kind.LEASE:
        return "requests in flight end by themselves"
    if usage.state is None:
        each = " and ".join(limit.dimensions) or limit.subject
        return f"each {each} has a counter of its own, under a name that only its payments tell"
    return ""
