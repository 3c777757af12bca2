"""Puts the descriptor side of the service together from its settings; called by `ratelimit.server`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis.clock import Clock
from chassis.ids import RandomIds
from chassis.metrics import ServiceMetrics
from chassis.secret_file import SecretInvalid, exposure_warnings
from policy.card_keys import CardSecret, read_card_keys_file
from policy.descriptors.reader import COMPAT_ENVOYPROXY
from policy.descriptors.tree import DescriptorSet
from policy.settings import MEMORY_STORE, ServiceSettings
from ratelimit.descriptors.engine import DescriptorEngine
from ratelimit.descriptors.held_over import HeldOver
from ratelimit.descriptors.memory_tally import MemoryTally
from ratelimit.descriptors.model import HEADER_NAMES, EngineOptions, StoreFailure
from ratelimit.descriptors.pages import LimitPages, page_address
from ratelimit.descriptors.servicer import DescriptorService, DomainServicer, Engines
from ratelimit.descriptors.statistics import DescriptorStatistics
from ratelimit.descriptors.store_tally import StoreTally
from ratelimit.descriptors.stores import TallyStores
from ratelimit.descriptors.tally import TallyStore
from ratelimit.recording import Recorder
from ratelimit.servicer import RateLimitServicer

_IN_CLEAR: Final = "names of counters in the store hold values of requests in clear; --descriptor-key-file hashes them"
_STORE_FAILURES: Final[dict[str, StoreFailure]] = {"deny": "deny", "allow": "allow", "error": "error"}
_UNKNOWN_DOMAIN: Final = ("deny", "allow")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}\Z")
_KEY_PREFIX: Final = re.compile(r"[!-~]{0,64}\Z")


def engine_options(settings: ServiceSettings, *, is_compat: bool) -> EngineOptions:
    """Return how the descriptors of a set are counted.

    Args:
        settings: What the operator says.
        is_compat: What the set says of itself.

    Raises:
        ValueError: A setting has a value that means nothing; the text names its option.
    """
    if not _KEY_PREFIX.match(settings.descriptor_key_prefix):
        raise ValueError("--counter-prefix must be at most 64 visible ASCII characters")
    failure = settings.descriptors_on_store_failure or ("error" if is_compat else "deny")
    domain = settings.unknown_domain or ("allow" if is_compat else "deny")
    if failure not in _STORE_FAILURES:
        raise ValueError(f"--descriptors-on-store-failure must be one of {', '.join(_STORE_FAILURES)}")
    if domain not in _UNKNOWN_DOMAIN:
        raise ValueError(f"--unknown-domain must be one of {', '.join(_UNKNOWN_DOMAIN)}")
    return EngineOptions(
        is_compat=is_compat,
        allows_unknown_domain=domain == "allow",
        on_store_failure=_STORE_FAILURES[failure],
        key_prefix=settings.descriptor_key_prefix,
        jitter_seconds=settings.expiration_jitter_seconds,
        local_cache_keys=settings.local_cache_size,
        stops_when_over=settings.stop_increment_when_over,
        is_shadow=settings.shadow_mode,
        is_quota=settings.quota_mode,
        near_ratio=settings.near_limit_ratio,
        header_names=_header_names(settings.limit_headers),
        has_metadata=settings.descriptor_metadata,
        windows_by_store=not is_compat,
        secrets=_secrets(settings.descriptor_key_file),
    )


def _secrets(path: str) -> tuple[CardSecret | None, ...]:
    if not path:
        return (None,)
    try:
        return read_card_keys_file(path).secrets
    except SecretInvalid as error:
        raise ValueError("; ".join(error.problems)) from None


def _header_names(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != HEADER_NAMES or len({name.lower() for name in names}) != HEADER_NAMES:
        raise ValueError("--limit-headers must be three different names: limit, remaining and reset")
    if not all(_HEADER_NAME.match(name) for name in names):
        raise ValueError("--limit-headers holds what is no header name (RFC 9110 section 5.1)")
    return names


def open_tally_stores(settings: ServiceSettings, clock: Clock) -> TallyStores:
    """Return where descriptors are counted; raises ValueError for a URL that no store understands."""
    per_second = settings.store_per_second
    return TallyStores(
        _open(settings.store, settings, clock), _open(per_second, settings, clock) if per_second else None
    )


def _open(url: str, settings: ServiceSettings, clock: Clock) -> TallyStore:
    return MemoryTally(clock) if url == MEMORY_STORE else StoreTally.from_url(url, clock, settings.store_settings())


@dataclass(frozen=True, slots=True)
class ServiceMeans:
    """What both kinds of limits work with."""

    clock: Clock
    metrics: ServiceMetrics
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class DescriptorParts:
    """The descriptor side of a service.

    Attributes:
        servicer: Answers every domain, ours through the quotas.
        stores: Started and stopped with the service.
        pages: `/json` and the debug view, where an address is given for them.
        key_warnings: Returns what an operator should know of the names of counters.
    """

    servicer: DomainServicer
    stores: TallyStores
    pages: LimitPages | None = None
    key_warnings: Callable[[], tuple[str, ...]] = tuple

    def background(self) -> tuple[TallyStore | LimitPages, ...]:
        """Return what is started and stopped with the service."""
        return (*self.stores.all(), *(() if self.pages is None else (self.pages,)))

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know."""
        second = self.stores.per_second
        away = () if second is None or second.is_available else ("the counter store for seconds is not connected",)
        return (*away, *self.key_warnings())


def open_descriptors(
    settings: ServiceSettings,
    rules: Callable[[], DescriptorSet | None],
    quotas: RateLimitServicer,
    means: ServiceMeans,
) -> DescriptorParts:
    """Build the descriptor side; nothing is opened before its stores are started.

    Raises:
        ValueError: A setting has a value that means nothing.
    """
    stores = open_tally_stores(settings, means.clock)
    statistics = DescriptorStatistics(means.metrics.registry, settings.near_limit_ratio)

    def engine(*, is_compat: bool) -> DescriptorEngine:
        options = engine_options(settings, is_compat=is_compat)
        held = HeldOver(options.local_cache_keys, is_compat=is_compat)
        return DescriptorEngine(stores, options, means.clock, statistics, held, random.random)

    engines = Engines(
        engine(is_compat=False),
        engine(is_compat=True),
        is_compat_unloaded=settings.descriptors_compat == COMPAT_ENVOYPROXY,
    )
    service = DescriptorService(rules, engines, means.recorder, RandomIds(), settings.errors_uri)
    servicer = DomainServicer(quotas, service)
    pages = None
    if settings.json_listen:
        pages = LimitPages(page_address(settings.json_listen), servicer.should_rate_limit, rules, means.clock)

    def key_warnings() -> tuple[str, ...]:
        if settings.descriptor_key_file:
            return exposure_warnings(settings.descriptor_key_file)
        is_kept = settings.store != MEMORY_STORE and rules() is not None
        return (_IN_CLEAR,) if is_kept else ()

    return DescriptorParts(servicer, stores, pages, key_warnings)
