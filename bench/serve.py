"""Runs one measured process: `python -m bench.serve JSON`.

The services themselves run under `tollhouse serve`; this is for the floor, for cold tokens and for proofs that stay
young, which no operator runs, on the same transports.
"""

from __future__ import annotations

import json
import sys

import uvloop

import bench.cold
import bench.still
from bench.cases import DPOP, FLOOR
from bench.floor import serve_floor_grpcio
from chassis.envoy_host import serve_envoy
from chassis.grpcio_server import serve_grpcio
from chassis.listen import HostOptions, ListenAddress
from chassis.logs import setup_logging
from policy.settings import ServiceSettings

_ANY_PORT = ListenAddress.parse("127.0.0.1:0")


async def run(service: str, case: str, transport: str, settings: ServiceSettings) -> int:
    """Serve until SIGTERM; return the exit code."""
    options = HostOptions(listen=_ANY_PORT, admin=_ANY_PORT)
    if transport == "envoy":
        app = {FLOOR: f"bench.floor:{service}_app", DPOP: "bench.still:app"}.get(case, "bench.cold:app")
        return await serve_envoy(app, options, settings.to_environment())
    if case == FLOOR:
        return await serve_floor_grpcio(service, options)
    build = bench.still.build if case == DPOP else bench.cold.build
    return await serve_grpcio(lambda: build(settings), options)


def main(text: str) -> int:
    """Run what the JSON object asks for: service, case, transport, policies, decision_log, store."""
    asked = json.loads(text)
    files = {"policies": asked["policies"], "decision_log": asked["decision_log"]}
    settings = ServiceSettings(**files, store=asked["store"], log_level="WARNING")
    setup_logging(asked["service"], level=settings.log_level)
    return uvloop.run(run(asked["service"], asked["case"], asked["transport"], settings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
