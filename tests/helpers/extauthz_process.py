"""extauthz as `tollhouse serve` runs it, in a process of its own, on either transport."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from extauthz.servicer import CHECK_METHOD
from helpers.cards import write_card_keys_file
from helpers.issuer import SigningKey, good_claims, mint
from helpers.services import AUDIENCE, check_bytes, reason_of
from helpers.transport_rig import ROOT
from helpers.waiting import until
from protos import envoy_wire_pb2 as wire

START_SECONDS = 60.0


@asynccontextmanager
async def serving(transport: str, directory: Path, *more: str) -> AsyncIterator[Path]:
    """Run the service over `directory/policies`; yields its output once it listens."""
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


async def reason(directory: Path, issuer: str, key: SigningKey, **claims: Any) -> str:
    """Send a payment with a good token and return `allow` or the reason code."""
    merged = {"aud": AUDIENCE, "merchant_id": "m_active", **claims}
    token = mint(key, good_claims(issuer, time.time(), **merged))
    async with grpc.aio.insecure_channel(f"unix:{directory}/gate") as channel:
        call = channel.unary_unary(CHECK_METHOD)
        answer = await call(check_bytes(token), timeout=10, wait_for_ready=True)
    return reason_of(wire.CheckResponse.FromString(answer))
