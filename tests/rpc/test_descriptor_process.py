"""Descriptor files served by a real process on either transport, over real gRPC and a real store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from helpers.descriptor_service import SHOP, limit_request
from helpers.transport_rig import ROOT, START_SECONDS, STOP_SECONDS, TRANSPORTS, can_run, until
from helpers.valkey import running
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD
from tollhouse.embedded_store import EmbeddedStore

pytestmark = pytest.mark.slow


@pytest.fixture
async def store() -> AsyncIterator[EmbeddedStore]:
    async with running() as embedded:
        yield embedded


@contextmanager
def _served(folder: Path, *options: str) -> Iterator[str]:
    """Run `tollhouse serve ratelimit --descriptors`; yield its address."""
    root = folder / "descriptors"
    root.mkdir(exist_ok=True)
    (root / "shop.yaml").write_text(SHOP)
    command = [sys.executable, "-m", "tollhouse", "serve", "ratelimit", "--descriptors", str(root)]
    command += ["--listen", "127.0.0.1:0", "--decision-log", str(folder / "log"), "--lame-duck-seconds", "0", *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+b") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def shown() -> str:
            output.seek(0)
            return output.read().decode(errors="replace")

        try:
            until(lambda: " serving on " in shown() or process.poll() is not None, "the start", START_SECONDS)
            assert process.poll() is None, shown()
            yield re.search(r"serving on (\S+) ", shown())[1]  # type: ignore[index]
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


async def _ask(address: str, request: wire.RateLimitRequest) -> wire.RateLimitResponse:
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await channel.unary_unary(SHOULD_RATE_LIMIT_METHOD)(request.SerializeToString(), timeout=10)
    return wire.RateLimitResponse.FromString(answer)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_descriptors_are_counted_and_our_own_domain_is_refused_without_quotas(tmp_path, store, transport):
    if not can_run(transport):
        pytest.skip("no libpython")
    with _served(tmp_path, "--store", store.url, "--transport", transport) as address:
        answers = [await _ask(address, limit_request("shop", {"user": "u"})) for _ in range(4)]
        assert [answer.overall_code for answer in answers] == [wire.RateLimitResponse.OK] * 3 + [
            wire.RateLimitResponse.OVER_LIMIT
        ]
        for domain in ("tollhouse", "elsewhere"):
            refused = await _ask(address, limit_request(domain, {"user": "u"}))
            assert refused.overall_code == wire.RateLimitResponse.OVER_LIMIT


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_store_that_is_away_ends_a_compat_call_unknown_and_refuses_a_default_one(tmp_path, transport):
    if not can_run(transport):
        pytest.skip("no libpython")
    away = ("--store", "redis://127.0.0.1:1/0", "--transport", transport)
    with _served(tmp_path, *away, "--compat", "envoyproxy") as address:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _ask(address, limit_request("shop", {"user": "u"}))
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        unmatched = await _ask(address, limit_request("shop", {"nobody": "u"}))
        assert unmatched.overall_code == wire.RateLimitResponse.OK
    with _served(tmp_path, *away) as address:
        refused = await _ask(address, limit_request("shop", {"user": "u"}))
        assert refused.overall_code == wire.RateLimitResponse.OVER_LIMIT
        assert refused.dynamic_metadata["http_status"] == 503
