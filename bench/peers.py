"""Other servers of the same protocol, measured in the same run: `--peer NAME=HOST:PORT:PID`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from bench.cases import EXTAUTHZ, METHODS, TRANSPORTS
from bench.servers import BenchFailed, Target
from protos import envoy_wire_pb2 as wire

_PEER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=([^:\s]+):(\d{1,5}):(\d+)\Z")
_ANSWER_WITHIN_SECONDS: Final = 5.0
_PREFIX_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that runs already.

    Attributes:
        name: Stands in the column of transports.
        target: Where it is and whose CPU time counts.
    """

    name: str
    target: Target


def parse_peer(text: str) -> Peer:
    """Read `NAME=HOST:PORT:PID`.

    Raises:
        ValueError: With a text that says what is wrong.
    """
    found = _PEER.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no peer: write NAME=HOST:PORT:PID")
    name, host, port, pid = found.groups()
    if name in TRANSPORTS:
        raise ValueError(f"{name!r} is the name of a transport; give the peer another one")
    return Peer(name, Target(int(port), int(pid), host=host))


def check_answers(service: str, target: Target, bodies: Sequence[Path]) -> None:
    """Call a peer once with every request that it will get; its own counters cannot be read.

    Raises:
        BenchFailed: It does not answer, or does not let a request pass.
    """
    with grpc.insecure_channel(target.address) as channel:
        call = channel.unary_unary(METHODS[service])
        for body in bodies:
            try:
                answer = call(body.read_bytes()[_PREFIX_BYTES:], timeout=_ANSWER_WITHIN_SECONDS)
            except grpc.RpcError as error:
                raise BenchFailed(f"{target.address} answered {error.code().name}") from None
            if not _passes(service, answer):
                raise BenchFailed(f"{target.address} does not let the request in {body.name} pass")


def _passes(service: str, answer: bytes) -> bool:
    if service == EXTAUTHZ:
        return wire.CheckResponse.FromString(answer).status.code == 0
    return wire.RateLimitResponse.FromString(answer).overall_code == wire.RateLimitResponse.OK
