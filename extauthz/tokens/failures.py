"""How many failed authentications one address may have, before its next new token costs a signature check.

Asked on the way to a check only: a token that was verified before passes whatever its neighbours behind the
same address do. The law: memory is bounded, and who fills it can only make the limit forget, never anything pass.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

MAX_ADDRESSES = 20_000
IPV6_PREFIX_BITS = 64
"""One caller holds at least that much of an IPv6 network, so it counts as one address."""
WINDOW_SECONDS = 60.0


class FailedAuthentications:
    """A leaky bucket for each address; one for the whole process, so that a reload forgets nothing."""

    def __init__(self, max_addresses: int = MAX_ADDRESSES) -> None:
        self._max_addresses = max_addresses
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def wait_seconds(self, address: str, per_minute: int, now: float) -> int:
        """Return 0 when the address may try a token, else after how many seconds it may.

        Args:
            address: Of the direct downstream; all without one share one limit.
            per_minute: How many failures fit into a minute.
            now: Monotonic time, seconds.
        """
        if not self._levels:
            return 0
        level = self._level(_key(address), per_minute, now)
        if level <= per_minute - 1:
            return 0
        return max(1, math.ceil((level - per_minute + 1) * WINDOW_SECONDS / per_minute))

    def record(self, address: str, per_minute: int, now: float) -> None:
        """Count one failure; the address that failed longest ago is forgotten when there are too many."""
        key = _key(address)
        self._levels[key] = (self._level(key, per_minute, now) + 1.0, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._max_addresses:
            self._levels.popitem(last=False)

    def _level(self, key: str, per_minute: int, now: float) -> float:
        level, since = self._levels.get(key, (0.0, now))
        return max(0.0, level - (now - since) * per_minute / WINDOW_SECONDS)


def _key(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - IPV6_PREFIX_BITS):x}"
