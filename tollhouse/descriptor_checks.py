"""What `tollhouse serve` refuses about descriptors before anything is started."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from chassis.clock import SystemClock
from chassis.store_nodes import is_cluster
from chassis.store_url import has_password
from policy.descriptors.reader import COMPAT_ENVOYPROXY
from policy.settings import MEMORY_STORE, ServiceSettings
from ratelimit.descriptors.assembly import engine_options, open_tally_stores
from ratelimit.descriptors.pages import page_address
from tollhouse import descriptor_options as of

_OPTIONS: Final = {
    "unknown_domain": of.UNKNOWN_DOMAIN,
    "descriptors_on_store_failure": of.DESCRIPTORS_ON_STORE_FAILURE,
    "store_per_second": of.STORE_PER_SECOND,
    "local_cache_size": of.LOCAL_CACHE_SIZE,
    "descriptor_key_prefix": of.COUNTER_PREFIX,
    "expiration_jitter_seconds": of.EXPIRATION_JITTER_SECONDS,
    "stop_increment_when_over": of.STOP_INCREMENT_WHEN_OVER,
    "shadow_mode": of.SHADOW_MODE,
    "quota_mode": of.QUOTA_MODE,
    "near_limit_ratio": of.NEAR_LIMIT_RATIO,
    "limit_headers": of.LIMIT_HEADERS,
    "descriptor_metadata": of.DESCRIPTOR_METADATA,
    "json_listen": of.JSON_LISTEN,
}


def check_descriptor_settings(service: str, settings: ServiceSettings) -> None:
    """Refuse settings of descriptors that mean nothing or promise what does not hold.

    Raises:
        ValueError: With a sentence that names the option; it never repeats a URL.
    """
    if service != "ratelimit":
        _check_unused(settings)
        return
    is_compat = settings.descriptors_compat == COMPAT_ENVOYPROXY
    engine_options(settings, is_compat=is_compat)
    if settings.stop_increment_when_over and settings.descriptors and not is_compat:
        raise ValueError(
            f"--stop-increment-when-over needs --compat {COMPAT_ENVOYPROXY}: else a refused request is never counted"
        )
    if settings.stop_increment_when_over and any(map(is_cluster, (settings.store, settings.store_per_second))):
        raise ValueError("--stop-increment-when-over asks all counters at once, and those of a cluster lie apart")
    if settings.json_listen:
        page_address(settings.json_listen)
    if settings.store_per_second:
        _check_store_per_second(settings)


def _check_unused(settings: ServiceSettings) -> None:
    for field in fields(settings):
        setting = _OPTIONS.get(field.name)
        if setting is not None and getattr(settings, field.name) != field.default:
            raise ValueError(f"{setting.flag} belongs to ratelimit; extauthz counts nothing")


def _check_store_per_second(settings: ServiceSettings) -> None:
    url = settings.store_per_second
    if url == MEMORY_STORE:
        if not settings.single_replica:
            raise ValueError("--store-per-second memory: counts for one lone process; it needs --single-replica")
        return
    try:
        open_tally_stores(replace(settings, store=url, store_password_file="", store_username=""), SystemClock())
    except ValueError as error:
        raise ValueError(f"--store-per-second: {error}") from error
    if has_password(url):
        raise ValueError("--store-per-second holds a password: it is logged in to as --store is, by a password file")
