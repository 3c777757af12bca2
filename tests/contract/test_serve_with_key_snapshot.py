"""A process of extauthz that starts while its token issuer is away lets payments pass with `--jwks-snapshot`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from extauthz.servicer import CHECK_METHOD
from helpers.cards import write_card_keys_file
from helpers.issuer import IssuerServer, SigningKey, good_claims, mint
from helpers.services import AUDIENCE, check_bytes, copy_policies, reason_of
from helpers.transport_rig import ROOT, TRANSPORTS, can_run
from helpers.waiting import until
from protos import envoy_wire_pb2 as wire

KEY = SigningKey("ES256", kid="k1")
START_SECONDS = 60.0


@asynccontextmanager
async def serving(transport: str, directory: Path, *more: str) -> AsyncIterator[Path]:
    """Run the service; yields its output once it listens."""
    output = directory / "output"
    command = [sys.executable, "-m", "tollhouse", "serve", "extauthz", "--policies", str(directory / "policies")]
    command += ["--listen", f"unix:{directory}/gate", "--transport", transport, "--lame-duck-seconds", "0"]
    command += ["--card-key-file", str(write_card_keys_file(directory / "card.keys")), *more]
    command += ["--decision-log", str(directory / "decisions.jsonl")]
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=stream, stderr=stream)  # noqa: ASYNC220
    try:
        await until(lambda: "extauthz serving on" in output.read_text() or process.poll() is not None, START_SECONDS)
        yield output
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


async def reason(directory: Path, issuer: str) -> str:
    """Send a good payment and return `allow` or the reason code."""
    claims = good_claims(issuer, time.time(), aud=AUDIENCE, merchant_id="m_active")
    async with grpc.aio.insecure_channel(f"unix:{directory}/gate") as channel:
        call = channel.unary_unary(CHECK_METHOD)
        answer = await call(check_bytes(mint(KEY, claims)), timeout=10, wait_for_ready=True)
    return reason_of(wire.CheckResponse.FromString(answer))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_process_that_starts_without_its_issuer_lets_payments_pass(transport, tmp_path):
    if not can_run(transport):
        pytest.skip("no shared libpython")
    kept = tmp_path / "keys"
    kept.mkdir(mode=0o700)
    async with IssuerServer(keys=[KEY]) as issuer:
        copy_policies(tmp_path / "policies", issuer.issuer)
        async with serving(transport, tmp_path, "--jwks-snapshot", str(kept)):
            assert await reason(tmp_path, issuer.issuer) == "allow"
    assert len(list(kept.iterdir())) == 1
    async with serving(transport, tmp_path, "--jwks-snapshot", str(kept)) as output:
        assert await reason(tmp_path, issuer.issuer) == "allow"
        assert "token_keys_restored" in output.read_text()
    async with serving(transport, tmp_path):
        assert await reason(tmp_path, issuer.issuer) == "token_issuer_unavailable"
