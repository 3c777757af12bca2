"""Whoever connects to a port with TLS and never proves who he is must not keep the others out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.certificates import ServerFiles, authority, server_pair
from helpers.transport_rig import TRANSPORTS, EchoProcess, can_run

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 10.0
"""Twice what both transports grant."""


@pytest.mark.parametrize("transport", [t for t in TRANSPORTS if can_run(t)])
@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01"], ids=["nothing", "the first bytes of a handshake"])
async def test_handshake_that_does_not_end_ends_its_connection(transport: str, says: bytes, tmp_path: Path):
    files, signer = ServerFiles(tmp_path), authority()
    files.put(server_pair(signer), signer.certificate)
    with EchoProcess(transport, files.options()) as server:
        host, port = server.serving().address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(says)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b""
        writer.close()
