"""`scripts/bench` for real, as short as it can be: rows, a peer, a peer that refuses, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest

from protos import envoy_wire_pb2 as wire

ROOT = Path(__file__).parents[2]
METHOD = "envoy.service.ratelimit.v3.RateLimitService"
OK, OVER_LIMIT = wire.RateLimitResponse.OK, wire.RateLimitResponse.OVER_LIMIT
IS_CI = os.environ.get("CI") == "true"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("h2load") is None and not IS_CI, reason="needs h2load: apt-get install nghttp2-client"
    ),
]


@asynccontextmanager
async def other_server(code: int) -> AsyncIterator[str]:
    """Any other server of the protocol, in this process; yields what `--peer` takes."""
    answer = wire.RateLimitResponse(overall_code=code).SerializeToString()

    async def should_rate_limit(_message: bytes, _context: object) -> bytes:
        return answer

    handlers = {"ShouldRateLimit": grpc.unary_unary_rpc_method_handler(should_rate_limit)}
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(METHOD, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"other=127.0.0.1:{port}:{os.getpid()}"
    await server.stop(None)


async def start(directory: Path, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "ratelimit", "--transport=grpcio", "--case=warm", "--in-flight=1"),
        *words,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        # Whoever runs the tests in the background has it ignored, and so would the benchmark.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(240):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def left_behind(directory: Path) -> list[str]:
    """Command lines of living processes that name the directory, and what lies in it."""
    found = [str(path) for path in directory.iterdir()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(directory) in words:
                found.append(os.fsdecode(words))
    return found


async def test_rows_of_the_service_and_of_a_peer_are_measured_in_one_run(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with other_server(OK) as peer:
        process = await start(
            scratch, "--rounds=1", "--seconds=0.1", f"--peer={peer}", f"--json={tmp_path / 'rows.json'}"
        )
        code, output, errors = await finished(process)
    assert code == 0, errors
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["case"], row["transport"]) for row in rows] == [
        ("floor", "grpcio"),
        ("warm", "grpcio"),
        ("warm", "other"),
    ]
    assert all(row["rps"] > 0 and row["p50_us"] > 0 and row["in_flight"] == 1 for row in rows)
    assert "VOID" not in output
    assert "\x1b[" not in output
    assert "round 1 of 1" in errors
    assert left_behind(scratch) == []


async def test_peer_that_refuses_what_it_is_sent_is_not_measured(tmp_path):
    async with other_server(OVER_LIMIT) as peer:
        process = await start(tmp_path, "--rounds=1", "--seconds=0.1", f"--peer={peer}")
        code, output, errors = await finished(process)
    assert code == 1
    assert "does not let the request in request-00.bin pass" in errors
    assert output == ""
    assert left_behind(tmp_path) == []


async def test_interrupted_run_leaves_nothing_behind(tmp_path):
    process = await start(tmp_path, "--rounds=50", "--seconds=5")
    assert process.stderr is not None
    async with asyncio.timeout(120):
        while b"round 1 of 50" not in await process.stderr.readline():
            assert process.returncode is None
    process.send_signal(signal.SIGINT)
    code, _, errors = await finished(process)
    assert code == 1
    assert "everything it started was ended" in errors
    assert left_behind(tmp_path) == []
