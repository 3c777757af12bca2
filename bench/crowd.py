"""A store in which many merchants have counters, as after a day on which all of them were paid.

A merchants file holds some ten thousand merchants at most, so a crowd lives in the store alone: the keys are those
that the service itself makes for one of its merchants, under a million names.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from bench.policy_sets import OPERATION, merchant_id
from policy.loader import load_policy_set
from ratelimit.compile import compile_tables
from ratelimit.ledger import Entry
from ratelimit.model import LimitQuery, OverLimit
from ratelimit.posting import find_counters, prepare
from ratelimit.window import Windows

_STORE_MEGABYTES: Final = 4096
_AT_ONCE: Final = 10_000
_SECONDS: Final = 86_400
# ARGV: text before and after the merchant's number, first number, how many, value, seconds to live.
_FILL: Final = """
for number = tonumber(ARGV[3]), tonumber(ARGV[3]) + tonumber(ARGV[4]) - 1 do
  redis.call('SET', ARGV[1] .. string.format('m%05d', number) .. ARGV[2], ARGV[5], 'EX', ARGV[6])
end
return 0
"""


def counters_of_one(policies: Path, now: float) -> list[Entry]:
    """Return what the service counts one payment by, for the first merchant of a generated policy set."""
    tables = compile_tables(load_policy_set(policies))
    merchant = tables.merchants[merchant_id(0)]
    query = LimitQuery(merchant.id, OPERATION, "EUR", 1250, uuid.uuid4().hex, tables.revision)
    plan = tables.plans[merchant.id][OPERATION]
    counters = find_counters(plan, query)
    if isinstance(counters, OverLimit):
        raise ValueError(counters.detail)
    return list(prepare(plan, query, counters, merchant, (Windows(), now)).posting.entries)


async def fill(url: str, entries: list[Entry], merchants: int) -> float:
    """Write the counters of so many merchants; return the bytes of the store's memory that each takes."""
    async with Redis.from_url(url) as client:
        before, counters = await _memory(client), 0
        for entry in entries:
            head, _, tail = entry.key.partition(merchant_id(0))
            for first in range(0, merchants, _AT_ONCE):
                some = min(_AT_ONCE, merchants - first)
                answer: Any = client.eval(_FILL, 0, head, tail, str(first), str(some), "1250", str(_SECONDS))
                await answer
            counters += merchants
        return (await _memory(client) - before) / max(counters, 1)


async def _memory(client: Redis) -> int:
    found: Any = await client.info("memory")
    return int(found["used_memory"])


def store_megabytes() -> int:
    """Return how much memory a crowded store may take."""
    return _STORE_MEGABYTES
