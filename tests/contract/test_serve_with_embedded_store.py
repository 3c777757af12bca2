"""`tollhouse serve --store embedded:` when its store ends: it does not stay behind without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.services import SHIPPED
from helpers.transport_rig import ROOT, TRANSPORTS, can_run, until


def child_named(pid: int, name: bytes) -> int | None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if name in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_service_ends_with_code_1_when_its_store_ended(transport: str, tmp_path: Path):
    if not can_run(transport):
        pytest.skip("no shared libpython")
    output = tmp_path / "output"
    where = ("--policies", str(SHIPPED), "--listen", "127.0.0.1:0", "--transport", transport)
    options = (*where, "--store", "embedded:", "--single-replica")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tollhouse", "serve", "ratelimit", *options], cwd=ROOT, stdout=stream, stderr=stream
        )
    try:
        until(lambda: " serving on " in output.read_text(), "the start", 60.0)
        store = child_named(process.pid, b"valkey")
        assert store is not None
        os.kill(store, signal.SIGKILL)
        assert process.wait(30) == 1
        assert "the embedded store ended by itself" in output.read_text()
    finally:
        process.kill()
        process.wait()
