"""Waiting for what another task, thread or the file system brings about, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return once `holds()` is true; raise TimeoutError when it is not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the file system sets no asyncio.Event
            await asyncio.sleep(0.005)
