"""Real store servers for tests: the one that comes with the package, and Redis where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio

from tollhouse.embedded_store import EmbeddedStore

SERVERS = ("valkey", *(("redis",) if shutil.which("redis-server") else ()))


def embedded(server: str = "valkey") -> EmbeddedStore:
    """A server that is not started yet."""
    return EmbeddedStore(shutil.which("redis-server") if server == "redis" else None)


@asynccontextmanager
async def running(server: str = "valkey") -> AsyncIterator[EmbeddedStore]:
    """A server that runs inside the block."""
    async with embedded(server) as store:
        yield store


@asynccontextmanager
async def administrator(url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client for looking at and meddling with the store from outside."""
    client = redis.asyncio.Redis.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()
