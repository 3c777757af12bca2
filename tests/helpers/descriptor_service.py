"""The rate-limit service over descriptor files alone, built as it runs; calls are bytes in, bytes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ratelimit.server
from chassis.clock import SystemClock
from chassis.policy_service import PolicyService
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire
from ratelimit.servicer import SHOULD_RATE_LIMIT_METHOD

PATIENCE_SECONDS = 5.0

SHOP = """\
domain: shop
descriptors:
  - key: user
    rate_limit: {unit: hour, requests_per_unit: 3}
  - key: plan
    value: free
    rate_limit: {unit: minute, requests_per_unit: 1}
"""


def descriptor_settings(folder: Path, *files: str, store: str = "memory:", **settings: Any) -> ServiceSettings:
    """Write descriptor files and return settings that name them."""
    root = folder / "descriptors"
    root.mkdir()
    for place, text in enumerate(files):
        (root / f"{place}.yaml").write_text(text)
    log = str(folder / "limits.jsonl")
    return ServiceSettings(policies="", descriptors=str(root), store=store, decision_log=log, **settings)


@asynccontextmanager
async def descriptor_service(settings: ServiceSettings) -> AsyncIterator[PolicyService[Any]]:
    service = ratelimit.server.build(settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def limit_request(domain: str, *descriptors: dict[str, str], hits: int = 0) -> wire.RateLimitRequest:
    request = wire.RateLimitRequest(domain=domain, hits_addend=hits)
    for entries in descriptors:
        descriptor = request.descriptors.add()
        for key, value in entries.items():
            descriptor.entries.add(key=key, value=value)
    return request


async def call(service: PolicyService[Any], request: wire.RateLimitRequest) -> wire.RateLimitResponse:
    deadline = SystemClock().monotonic() + PATIENCE_SECONDS
    method = service.methods[SHOULD_RATE_LIMIT_METHOD]
    return wire.RateLimitResponse.FromString(await method(request.SerializeToString(), deadline))
