"""The values that travel along the line for descriptors; no protobuf, no files, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from policy.card_keys import CardSecret
from policy.descriptors.tree import LimitRule
from ratelimit.model import Verdict

Path = tuple[tuple[str, str], ...]
"""Keys and values from the first entry on."""

HEADER_NAMES: Final = 3

StoreFailure = Literal["deny", "allow", "error"]


class Override(NamedTuple):
    """A limit that the request brings along.

    Attributes:
        requests_per_unit: 0 to 4294967295.
        unit: Number on the wire (envoy.type.v3.RateLimitUnit), whatever it was.
    """

    requests_per_unit: int
    unit: int


class Descriptor(NamedTuple):
    """One descriptor of a request.

    Attributes:
        entries: As sent.
        override: None: the limit of our rules.
        hits: None: those of the request; 0 looks.
        is_given_back: The hits are given back.
    """

    entries: Path
    override: Override | None = None
    hits: int | None = None
    is_given_back: bool = False


class DescriptorQuery(NamedTuple):
    """A RateLimitRequest of a domain that is not our own.

    Attributes:
        domain: As sent.
        descriptors: In order.
        hits: `hits_addend` of the request as sent; 0 means 1.
    """

    domain: str
    descriptors: tuple[Descriptor, ...]
    hits: int = 0


class Found(NamedTuple):
    """What a descriptor led to.

    Attributes:
        limit: None: no limit holds for it.
        path: What its counter is named by.
        fault: Why it is refused whatever the count; empty for none.
    """

    limit: LimitRule | None = None
    path: Path = ()
    fault: str = ""


class Status(NamedTuple):
    """The answer for one descriptor (`RateLimitResponse.DescriptorStatus`).

    Attributes:
        is_over: As answered; a shadow rule never is.
        limit: Shown as `current_limit`; None: none holds, or none was asked about.
        remaining: Hits left.
        reset_seconds: Until the window ends; 0 without a limit.
    """

    is_over: bool = False
    limit: LimitRule | None = None
    remaining: int = 0
    reset_seconds: int = 0


@dataclass(frozen=True, slots=True)
class DescriptorAnswer:
    """Verdict and statuses of one request.

    Attributes:
        verdict: For the record, and for refusals that are about no limit.
        statuses: One a descriptor; empty when the request was refused before any was looked at.
        found: One a descriptor, for dynamic metadata.
    """

    verdict: Verdict
    statuses: tuple[Status, ...] = ()
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How descriptors are counted and answered; envoyproxy/ratelimit's variables in brackets.

    Attributes:
        is_compat: Count, name counters and answer as envoyproxy/ratelimit does, its surprises included.
        allows_unknown_domain: A domain without rules passes instead of being refused.
        on_store_failure: What a request with limits gets while the store is away. `error` ends the call with status
            UNKNOWN, which Envoy lets pass unless `failure_mode_deny` is set.
        key_prefix: Before the name of every counter (CACHE_KEY_PREFIX).
        jitter_seconds: Counters live so much longer at most, so that they do not all expire at once
            (EXPIRATION_JITTER_MAX_SECONDS).
        local_cache_keys: How many counters that are over are answered without the store; 0: none
            (LOCAL_CACHE_SIZE_IN_BYTES).
        stops_when_over: Only with `is_compat`: limits that would pass do not grow when another is over
            (STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT).
        is_shadow: Nothing is refused (SHADOW_MODE).
        is_quota: Every limit counts as a quota limit (QUOTA_MODE).
        near_ratio: Share of a limit from which hits count as near it (NEAR_LIMIT_RATIO).
        header_names: Limit, remaining and reset; empty: no headers (LIMIT_RESPONSE_HEADERS_ENABLED).
        has_metadata: Answers carry dynamic metadata (RESPONSE_DYNAMIC_METADATA).
        windows_by_store: Windows are those of the store's time; else of our own clock's, as envoyproxy/ratelimit's are.
        secrets: What names of counters are hashed with, the current one first, the one it replaces second; None: with
            nothing.
    """

    is_compat: bool = False
    allows_unknown_domain: bool = False
    on_store_failure: StoreFailure = "deny"
    key_prefix: str = ""
    jitter_seconds: int = 300
    local_cache_keys: int = 0
    stops_when_over: bool = False
    is_shadow: bool = False
    is_quota: bool = False
    near_ratio: float = 0.8
    header_names: tuple[str, ...] = ()
    has_metadata: bool = False
    windows_by_store: bool = False
    secrets: tuple[CardSecret | None, ...] = (None,)
