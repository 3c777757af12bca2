"""Which event loops the contract tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

BOTH_LOOPS = ("test_store_link_faults.py", "test_store_link_protocol.py")
"""Their subject is the socket, and the two loops' transports behave differently when one breaks."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops a test runs on, once each."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return {**loops, "uvloop": uvloop.new_event_loop} if item.path.name in BOTH_LOOPS else loops
