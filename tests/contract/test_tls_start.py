"""What a TLS listener starts with, on either transport, and what it refuses to start with."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from chassis.listen import ListenAddress
from helpers.certificates import EXPIRED, Caller, ServerFiles, authority, client_pair, server_pair
from helpers.transport_rig import TRANSPORTS, EchoProcess, can_run, readyz


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    return str(request.param)


def test_expired_certificate_is_refused_with_one_line(transport: str, tmp_path: Path):
    ours = authority()
    files = ServerFiles(tmp_path)
    files.put(server_pair(ours, EXPIRED), ours.certificate)

    with EchoProcess(transport, files.options()) as process:
        assert process.exit_code() == 1
        (line,) = process.output().splitlines()

    assert line.startswith(f"TLS certificate {tmp_path}/tls.pem expired at ")


def test_key_of_another_certificate_is_refused_and_not_shown(transport: str, tmp_path: Path):
    ours = authority()
    files = ServerFiles(tmp_path)
    files.put(server_pair(ours), ours.certificate)
    files.put_bytes("tls.key", server_pair(ours).private_key)

    with EchoProcess(transport, files.options()) as process:
        assert process.exit_code() == 1
        (line,) = process.output().splitlines()

    assert "does not belong to the first certificate" in line


async def test_server_certificate_alone_serves_whoever_calls_on_loopback(transport: str, tmp_path: Path):
    ours = authority()
    files = ServerFiles(tmp_path)
    files.put(server_pair(ours))

    with EchoProcess(transport, files.options(is_mutual=False)) as process:
        assert await Caller(ours.certificate).echo(process.serving().address) == b"ping"


async def test_unix_socket_speaks_tls_too(transport: str, tmp_path: Path):
    ours = authority()
    files = ServerFiles(tmp_path)
    files.put(server_pair(ours), ours.certificate)
    with tempfile.TemporaryDirectory() as short:
        listen = ListenAddress.parse(f"unix:{short}/s")
        with EchoProcess(transport, replace(files.options(), listen=listen)) as process:
            address = process.serving().address
            channel = Caller(ours.certificate, client_pair(ours)).channel(address, name="localhost")
            async with channel:
                assert await channel.unary_unary("/echo.v1.Echo/Echo")(b"ping", timeout=10.0) == b"ping"
            stranger = Caller(ours.certificate, client_pair(ours, "spiffe://other")).channel(address, name="localhost")
            async with stranger:
                with pytest.raises(grpc.aio.AioRpcError):
                    await stranger.unary_unary("/echo.v1.Echo/Echo")(b"ping", timeout=10.0)


def test_key_is_closed_and_no_copy_of_it_is_left_behind(transport: str, tmp_path: Path):
    ours = authority()
    files = ServerFiles(tmp_path)
    files.put(server_pair(ours), ours.certificate)
    (tmp_path / "tls.key").chmod(0o644)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    with EchoProcess(transport, files.options(), environment={"TMPDIR": str(scratch)}) as process:
        warnings = readyz(process.serving())[1]["warnings"]
        copies = list(scratch.rglob("*.json"))
        assert len(copies) == (2 if transport == "envoy" else 0)
        assert {path.stat().st_mode & 0o077 for path in (*copies, *scratch.iterdir())} <= {0}
        process.terminate()
        assert process.exit_code() == 0

    assert not list(scratch.iterdir())
    assert f"TLS private key {tmp_path}/tls.key can be read by every user" in warnings
