"""What is measured: the cases, the load levels, and which policy set each case runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EXTAUTHZ: Final = "extauthz"
RATELIMIT: Final = "ratelimit"
TRANSPORTS: Final = ("envoy", "grpcio")
FLOOR: Final = "floor"
WARM: Final = "warm"
COLD: Final = "cold"
DPOP: Final = "dpop"
DESCRIPTORS: Final = "descriptors"
LEASED: Final = "leased"
FLOOR_DESCRIPTORS: Final = "floor_descriptors"
"""The floor's server, sent the bytes of `descriptors`."""

METHODS: Final[Mapping[str, str]] = {
    EXTAUTHZ: "/envoy.service.auth.v3.Authorization/Check",
    RATELIMIT: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
}
EXPECTED_VERDICTS: Final[Mapping[str, str]] = {EXTAUTHZ: "allow", RATELIMIT: "within_limit"}


@dataclass(frozen=True, slots=True)
class PolicyShape:
    """How large a generated policy set is.

    Attributes:
        merchants: Merchants, each with limits of its own.
        operations: Routes; the measured one is the last.
        rules: Risk rules, of which none hits.
        has_descriptors: Instead of a policy set: a file in envoyproxy/ratelimit's format, asked with two descriptors.
        is_dpop_bound: Tokens are bound to a DPoP key, and each proof is marked in the store.
        quotas: By how many quotas of QUOTAS in `bench.policy_sets` one payment is counted.
        is_leased: One count that is leased, and amounts that are written as unlimited.
        crowd: Merchants that have counters in the store; the case then has a store of its own.
    """

    merchants: int = 100
    operations: int = 10
    rules: int = 20
    is_dpop_bound: bool = False
    has_descriptors: bool = False
    quotas: int = 2
    is_leased: bool = False
    crowd: int = 0


_SHAPES: Final[Mapping[tuple[str, str], PolicyShape]] = {
    (EXTAUTHZ, WARM): PolicyShape(),
    (EXTAUTHZ, COLD): PolicyShape(),
    (EXTAUTHZ, DPOP): PolicyShape(is_dpop_bound=True),
    (EXTAUTHZ, "merchants_10"): PolicyShape(merchants=10),
    # A routes file holds at most 1000 operations.
    (EXTAUTHZ, "merchants_10k"): PolicyShape(merchants=10_000, operations=1000),
    (EXTAUTHZ, "rules_100"): PolicyShape(rules=100),
    (RATELIMIT, WARM): PolicyShape(),
    (RATELIMIT, "merchants_10"): PolicyShape(merchants=10),
    # Here the limits are many: 10,000 merchants times 10 operations times 2 quotas.
    (RATELIMIT, "merchants_10k"): PolicyShape(merchants=10_000),
    (RATELIMIT, DESCRIPTORS): PolicyShape(has_descriptors=True),
    (RATELIMIT, "quotas_1"): PolicyShape(quotas=1),
    (RATELIMIT, "quotas_5"): PolicyShape(quotas=5),
    (RATELIMIT, LEASED): PolicyShape(is_leased=True),
    (RATELIMIT, "merchants_1k"): PolicyShape(merchants=1000, crowd=1000),
    # As many in the store as a platform may have, all of one tier; those measured are among them.
    (RATELIMIT, "merchants_1m"): PolicyShape(merchants=1000, crowd=1_000_000),
}
_FLOORS: Final[Mapping[str, str]] = {DESCRIPTORS: FLOOR_DESCRIPTORS}


def cases_of(service: str) -> tuple[str, ...]:
    """Return the cases of a service, the floor first."""
    return (FLOOR, *(case for owner, case in _SHAPES if owner == service))


def shape_of(service: str, case: str) -> PolicyShape:
    """Return the size of the policy set that a case runs on; a floor has that of the case whose bytes it parses."""
    return _SHAPES[service, {FLOOR: WARM, FLOOR_DESCRIPTORS: DESCRIPTORS}.get(case, case)]


def floor_of(case: str) -> str:
    """Return the floor that a case is compared with: the one that parses the same bytes."""
    return _FLOORS.get(case, FLOOR)


@dataclass(frozen=True, slots=True)
class Level:
    """How many requests are in flight, and how they are spread.

    Attributes:
        processes: h2load processes, each with its own token, merchant, card and body.
        streams: Requests in flight on the one connection of each.
    """

    processes: int
    streams: int

    @property
    def in_flight(self) -> int:
        """Requests in flight in all."""
        return self.processes * self.streams


LEVELS: Final[Mapping[int, Level]] = {level.in_flight: level for level in (Level(1, 1), Level(16, 1), Level(16, 4))}
MAX_PROCESSES: Final = 16
