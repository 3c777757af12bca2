"""Replicas that share one limit let through exactly the limit, whatever counts it."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import helpers
from helpers.valkey import SERVERS, running
from ratelimit.ledger import MAX_COUNT, MAX_MEMBERS, Kind

REPLICAS, CLIENTS = 3, 8
REQUESTS = 20_000
"""Of each client."""
LIMIT = 20_011
MOST = defaultdict(lambda: MAX_COUNT, {Kind.DISTINCT: MAX_MEMBERS, Kind.LEASE: MAX_MEMBERS})
SCRIPT = Path(helpers.__path__[0]) / "exact_replica.py"


@asynccontextmanager
async def replica(url: str, kind: Kind, number: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replica that is connected and waits for the word to begin."""
    numbers = [str(each) for each in (REQUESTS * CLIENTS, CLIENTS, min(LIMIT, MOST[kind]), number)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), url, kind.name, *numbers),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), timeout=60) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def passed(process: asyncio.subprocess.Process) -> int:
    """Let a replica begin; return how many of its requests passed."""
    out, _ = await asyncio.wait_for(process.communicate(b"go\n"), timeout=240)
    assert process.returncode == 0
    return int(out)


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name.lower())
async def test_replicas_under_load_let_through_exactly_the_limit(server, kind):
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(running(server))
        replicas = [await stack.enter_async_context(replica(store.url, kind, number)) for number in range(REPLICAS)]
        counts = await asyncio.gather(*map(passed, replicas))
    assert sum(counts) == min(LIMIT, MOST[kind])
    assert all(counts), "each replica had a part: they really ran beside each other"
