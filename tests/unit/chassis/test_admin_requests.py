"""What the admin pages say, and log, about requests that cannot be read, and about faults of their own."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from helpers.admin_pages import admin_pages
from helpers.echo_service import EchoService

UNREADABLE = (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n")


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
    async with admin_pages(EchoService({})) as port:
        assert b" 400 " in await send(port, raw)
    assert "Traceback" not in caplog.text


async def test_fault_of_a_page_is_500_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    service = EchoService({})

    def fails() -> NoReturn:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(service, "readiness", fails)
    async with admin_pages(service) as port:
        assert b" 500 " in await send(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "a fault of ours" in caplog.text
