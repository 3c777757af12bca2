"""Small HTTP questions to the parts of the stack: are you ready, what do you count."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
_ANSWER_WITHIN_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05
_NO_PROXY: Final = urllib.request.ProxyHandler({})


def get_text(port: int, path: str) -> str | None:
    """Return the body of `GET path` on a loopback port, or None unless it answers 200 in time."""
    try:
        opener = urllib.request.build_opener(_NO_PROXY)
        with opener.open(f"http://{LOOPBACK}:{port}{path}", timeout=_ANSWER_WITHIN_SECONDS) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except (OSError, ValueError):
        return None


def get_json(port: int, path: str) -> dict[str, Any]:
    """Return the JSON object of `GET path` on a loopback port; empty unless it answers 200 in time."""
    text = get_text(port, path)
    return dict(json.loads(text)) if text else {}


async def wait_until(claim: Callable[[], bool], within_seconds: float) -> bool:
    """Ask until the claim holds, in a thread because it may do HTTP; False when time is up."""
    try:
        async with asyncio.timeout(within_seconds):
            while not await asyncio.to_thread(claim):  # noqa: ASYNC110 - about other processes, which set no event
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return False
    return True
