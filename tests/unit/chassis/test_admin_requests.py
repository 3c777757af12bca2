"""What the admin pages say, and log, about requests that cannot be read, and about faults of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from chassis.host import ServiceHost
from chassis.listen import HostOptions, ListenAddress
from helpers.echo_service import EchoService

UNREADABLE = (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n")


@contextlib.asynccontextmanager
async def pages(service: EchoService) -> AsyncIterator[int]:
    """The port of a running host's admin pages."""
    local = ListenAddress.parse("127.0.0.1:0")
    host = ServiceHost(service, HostOptions(local, local))
    await host.start()
    try:
        port = urlsplit(host.admin_url).port
        assert isinstance(port, int)
        yield port
    finally:
        await host.stop()


async def send(port: int, raw: bytes) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        first = await reader.readline()
        writer.close()
        await writer.wait_closed()
    return first


@pytest.mark.parametrize("raw", UNREADABLE)
async def test_request_that_cannot_be_read_is_400_and_fills_no_log(raw: bytes, caplog: pytest.LogCaptureFixture):
    async with pages(EchoService({})) as port:
        assert b" 400 " in await send(port, raw)
    assert "Traceback" not in caplog.text


async def test_fault_of_a_page_is_500_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    service = EchoService({})

    def fails() -> NoReturn:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(service, "readiness", fails)
    async with pages(service) as port:
        assert b" 500 " in await send(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "a fault of ours" in caplog.text
