"""Whoever connects to the admin pages and says nothing, or says it slowly, takes little and not for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import chassis.admin
import chassis.admin_listener
from chassis.admin_listener import MAX_CONNECTIONS
from chassis.listen import HostOptions, ListenAddress
from helpers.admin_pages import PLAIN, admin_pages
from helpers.certificates import ServerFiles, authority, server_pair
from helpers.echo_service import EchoService

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def plain(_tmp_path: Path) -> HostOptions:
    return PLAIN


def with_tls(tmp_path: Path) -> HostOptions:
    files, signer = ServerFiles(tmp_path), authority()
    files.put(server_pair(signer), signer.certificate)
    tls = files.options().tls
    token = tmp_path / "admin.token"
    token.write_text("t" * 32)
    local = ListenAddress.parse("127.0.0.1:0")
    return HostOptions(local, ListenAddress.parse("0.0.0.0:0"), tls=tls, admin_token_file=str(token))


@contextlib.asynccontextmanager
async def crowd(port: int, says: bytes) -> AsyncIterator[list[Connection]]:
    """As many connections as there may be, each of which has said something."""
    found: list[Connection] = []
    try:
        for _ in range(MAX_CONNECTIONS):
            found.append(await asyncio.open_connection("127.0.0.1", port))
            found[-1][1].write(says)
        yield found
    finally:
        for _, writer in found:
            writer.close()


async def probe(port: int) -> bytes:
    """Return the first line of the answer, empty when the connection was closed without one."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(PROBE)
            return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def is_closed(connection: Connection) -> bool:
    try:
        async with asyncio.timeout(10):
            return await connection[0].read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("options", [plain, with_tls])
async def test_one_connection_more_than_may_be_open_is_closed_at_once(options, tmp_path: Path):
    async with admin_pages(EchoService({}), options(tmp_path)) as port, crowd(port, b""):
        assert await probe(port) == b""


async def test_room_comes_back_when_connections_end():
    async with admin_pages(EchoService({})) as port:
        async with crowd(port, b""):
            pass
        async with asyncio.timeout(10):
            while await probe(port) != b"HTTP/1.1 200 OK\r\n":  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)


async def test_request_that_does_not_end_ends_its_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chassis.admin, "IDLE_SECONDS", 0.2)
    async with admin_pages(EchoService({})) as port, crowd(port, b"GET /healthz HTTP/1.1\r\nHost: loc") as connections:
        assert all([await is_closed(connection) for connection in connections])


async def test_handshake_that_does_not_end_ends_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chassis.admin_listener, "HANDSHAKE_SECONDS", 0.2)
    async with admin_pages(EchoService({}), with_tls(tmp_path)) as port, crowd(port, b"") as connections:
        assert all([await is_closed(connection) for connection in connections])
