"""The committed message modules are what the .proto files say, and speak Envoy's numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from protos import envoy_wire_pb2 as wire

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["attributes", "decision_record", "envoy_wire", "health"])
def test_generated_module_is_regenerated_identically(name: str, tmp_path: Path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I",
            str(ROOT),
            f"--python_out={tmp_path}",
            f"--pyi_out={tmp_path}",
            f"protos/{name}.proto",
        ],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    for suffix in ("_pb2.py", "_pb2.pyi"):
        assert (ROOT / f"protos/{name}{suffix}").read_text() == (tmp_path / f"protos/{name}{suffix}").read_text()


def test_negative_hits_travels_as_envoy_sends_it():
    descriptor = wire.RateLimitDescriptor(is_negative_hits=True)
    assert descriptor.SerializeToString() == bytes.fromhex("2001")


def test_empty_check_response_means_allow_so_a_denial_must_set_a_status():
    assert wire.CheckResponse().SerializeToString() == b""
    assert wire.CheckResponse(status=wire.Status(code=7)).SerializeToString() != b""
