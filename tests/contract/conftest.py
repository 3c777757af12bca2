"""Which event loops the contract tests run on, and the server that those about calls share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from helpers.transport_rig import TRANSPORTS, EchoProcess, can_run

BOTH_LOOPS = ("test_store_link_faults.py", "test_store_link_protocol.py")
"""Their subject is the socket, and the two loops' transports behave differently when one breaks."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops a test runs on, once each."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return {**loops, "uvloop": uvloop.new_event_loop} if item.path.name in BOTH_LOOPS else loops


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[EchoProcess]:
    """An echo server on each transport, one for all tests of a module."""
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    with EchoProcess(request.param) as process:
        yield process.serving()
