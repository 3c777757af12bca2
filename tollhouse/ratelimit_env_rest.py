"""Settings of envoyproxy/ratelimit that have no equivalent, and why."""

from __future__ import annotations

from typing import Final

_METRICS: Final = "metrics are Prometheus' alone, at --admin, with labels that requests cannot multiply"
_XDS: Final = "rules come from files; a control plane writes them there"
_MEMCACHED: Final = "memcached cannot count all or nothing, and its errors let everything through"
_LINK: Final = "one pipelined connection a process gathers calls by itself; there is no pool to size"
_WATCH: Final = "both ways of replacing files are noticed, and names that begin with a dot are never rules"
_TRACES: Final = "no spans are sent; decision records and metrics say what happened"
_STATUS: Final = "/readyz at --admin always says whether rules are loaded and whether the store is there"

_EXACT: Final = {
    "USE_STATSD": _METRICS,
    "USE_DOG_STATSD": _METRICS,
    "EXTRA_TAGS": _METRICS,
    "STATS_FLUSH_INTERVAL": _METRICS,
    "DISABLE_STATS": _METRICS,
    "PROMETHEUS_ADDR": "without USE_PROMETHEUS it was not in force",
    "PROMETHEUS_PATH": "the page is /metrics",
    "PROMETHEUS_MAPPER_YAML": _METRICS,
    "FORCE_START_WITHOUT_INITIAL_CONFIG": "a start without rules would let everything through, so it is refused",
    "RUNTIME_WATCH_ROOT": _WATCH,
    "RUNTIME_IGNOREDOTFILES": _WATCH,
    "GRPC_MAX_CONNECTION_AGE": "Envoy spreads its calls itself; a stop drains connections",
    "GRPC_MAX_CONNECTION_AGE_GRACE": "Envoy spreads its calls itself; a stop drains connections",
    "HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED": _STATUS,
    "REDIS_HEALTH_CHECK_ACTIVE_CONNECTION": _STATUS,
    "REDIS_TIMEOUT": "a call to the store ends within the deadline that Envoy gives it",
    "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION": "whoever can stand in for the store decides what passes",
    "LOG_FORMAT": "logs are one JSON object a line",
    "PROTO": "it means nothing there either",
    "HOST": "/json is off; TOLLHOUSE_JSON_LISTEN opens it on loopback",
    "DEBUG_HOST": "/json is off; TOLLHOUSE_JSON_LISTEN opens it on loopback",
    "USE_CALENDAR_MONTH_RATE_LIMIT": "a month is 30 days in descriptor files; quotas.yaml has calendar months",
    "ENABLE_NEGATIVE_HITS": "hits given back are always understood",
}

_BEGINNINGS: Final = {
    "CONFIG_GRPC_XDS_": _XDS,
    "XDS_CLIENT_": _XDS,
    "MEMCACHE_": _MEMCACHED,
    "STATSD_": _METRICS,
    "USE_DOG_STATSD_": _METRICS,
    "TRACING_": _TRACES,
    "REDIS_POOL_": _LINK,
    "REDIS_PIPELINE_": _LINK,
    "REDIS_STARTUP_": _LINK,
    "REDIS_CLUSTER_": _LINK,
    "REDIS_TLS_": "without REDIS_TLS it was not in force",
    "REDIS_PERSECOND_": "without REDIS_PERSECOND it was not in force; else it goes like its twin without PERSECOND",
}


def reason_without_equivalent(name: str) -> str:
    """Return why a variable of the Go server means nothing here; empty for a name that it does not have."""
    if name in _EXACT:
        return _EXACT[name]
    return next((reason for beginning, reason in _BEGINNINGS.items() if name.startswith(beginning)), "")
