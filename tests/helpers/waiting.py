"""Waiting for what another task, thread or the file system brings about, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return once `holds()` is true; raise TimeoutError when it is not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the file system sets no asyncio.Event
            await asyncio.sleep(0.005)


async def until_told(ask: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """Ask again and again; return the first answer that is true, raise TimeoutError when none is within `seconds`."""
    async with asyncio.timeout(seconds):
        while not (answer := await ask()):  # noqa: ASYNC110 - another process sets no asyncio.Event
            await asyncio.sleep(0.02)
    return answer
