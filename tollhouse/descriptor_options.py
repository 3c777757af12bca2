"""Settings of how descriptors are counted and answered; a part of the table in `tollhouse/options.py`."""

from __future__ import annotations

from policy.settings import ServiceSettings
from tollhouse.setting import Setting, default_of

_SERVICE = "ratelimit"

UNKNOWN_DOMAIN = Setting(
    "--unknown-domain",
    "deny or allow: what a request of a domain without any rule gets; left out: allow with --compat, else deny.",
    "deny: a misspelt domain in a filter would switch its limits off. Both are counted.",
    default_of(ServiceSettings, "unknown_domain"),
    "deny|allow",
    service=_SERVICE,
)
DESCRIPTORS_ON_STORE_FAILURE = Setting(
    "--descriptors-on-store-failure",
    "deny, allow or error: what descriptors get while the store is away; left out: error with --compat, else deny.",
    "deny where a limit guards money. error ends the call with status UNKNOWN, and Envoy lets the request pass unless "
    "its filter says `failure_mode_deny: true`.",
    default_of(ServiceSettings, "descriptors_on_store_failure"),
    "deny|allow|error",
    service=_SERVICE,
)
STORE_PER_SECOND = Setting(
    "--store-per-second",
    "A store of its own for descriptors with unit second; logged in to as `--store` is.",
    "Leave it out until the one store is too busy: a request with limits in both asks one after the other.",
    default_of(ServiceSettings, "store_per_second"),
    "URL",
    service=_SERVICE,
)
LOCAL_CACHE_SIZE = Setting(
    "--local-cache-size",
    "How many counters that are over are answered without the store.",
    "0, or a few thousand under attack. A limit that a reload raises holds at once, hits that another replica gives "
    "back within a second; with --compat neither does before the window ends.",
    default_of(ServiceSettings, "local_cache_size"),
    "COUNTERS",
    (0, 1_000_000),
    service=_SERVICE,
)
COUNTER_PREFIX = Setting(
    "--counter-prefix",
    "Before the name of every counter of descriptors.",
    "Leave it out, unless services with other rules share the store.",
    default_of(ServiceSettings, "descriptor_key_prefix"),
    "TEXT",
    service=_SERVICE,
)
EXPIRATION_JITTER_SECONDS = Setting(
    "--expiration-jitter-seconds",
    "How much longer than its window a counter lives at most.",
    "The default: counters of one window then do not all expire in the same moment.",
    default_of(ServiceSettings, "expiration_jitter_seconds"),
    "SECONDS",
    (0, 86_400),
    service=_SERVICE,
)
STOP_INCREMENT_WHEN_OVER = Setting(
    "--stop-increment-when-over",
    "With --compat: limits that would pass do not grow when another one is over.",
    "Leave it out without --compat, where a refused request is never counted.",
    default_of(ServiceSettings, "stop_increment_when_over"),
    service=_SERVICE,
)
SHADOW_MODE = Setting(
    "--shadow-mode",
    "Count descriptors and refuse none.",
    "For trying rules out; every limit is off while it is set.",
    default_of(ServiceSettings, "shadow_mode"),
    service=_SERVICE,
)
QUOTA_MODE = Setting(
    "--quota-mode",
    "Every descriptor limit refuses only together with the others of its request.",
    "Leave it out and set `quota_mode` at the rules that need it: one limit with room keeps all others from refusing.",
    default_of(ServiceSettings, "quota_mode"),
    service=_SERVICE,
)
NEAR_LIMIT_RATIO = Setting(
    "--near-limit-ratio",
    "Share of a limit from which hits count as near it in the metrics.",
    "Where an alert should begin.",
    default_of(ServiceSettings, "near_limit_ratio"),
    "SHARE",
    (0.0, 1.0),
    service=_SERVICE,
)
LIMIT_HEADERS = Setting(
    "--limit-headers",
    "Names of three response headers, joined by commas: limit, remaining, seconds until reset.",
    "Leave it out where clients need not know the limits. RateLimit-Limit,RateLimit-Remaining,RateLimit-Reset are "
    "envoyproxy/ratelimit's.",
    default_of(ServiceSettings, "limit_headers"),
    "NAMES",
    service=_SERVICE,
)
DESCRIPTOR_METADATA = Setting(
    "--descriptor-metadata",
    "Answers carry what was asked, and the metadata of rules that passed, as dynamic metadata.",
    "Leave it out unless a later filter reads it: descriptor values then reach whatever logs metadata.",
    default_of(ServiceSettings, "descriptor_metadata"),
    service=_SERVICE,
)
JSON_LISTEN = Setting(
    "--json-listen",
    "Where POST /json, /rlconfig and /descriptors are served; without it nowhere.",
    "Leave it out in production: whoever reaches it can use up limits. Loopback or a Unix socket alone.",
    default_of(ServiceSettings, "json_listen"),
    "HOST:PORT|unix:PATH",
    service=_SERVICE,
)

DESCRIPTOR_SETTINGS = (
    UNKNOWN_DOMAIN,
    DESCRIPTORS_ON_STORE_FAILURE,
    STORE_PER_SECOND,
    LOCAL_CACHE_SIZE,
    COUNTER_PREFIX,
    EXPIRATION_JITTER_SECONDS,
    STOP_INCREMENT_WHEN_OVER,
    SHADOW_MODE,
    QUOTA_MODE,
    NEAR_LIMIT_RATIO,
    LIMIT_HEADERS,
    DESCRIPTOR_METADATA,
    JSON_LISTEN,
)
"""In the order of docs/configuration.md."""
