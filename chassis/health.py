"""gRPC health checking (grpc/health/v1/health.proto): one handler, the same on each transport.

Only `Check` is served. `Watch` is answered UNIMPLEMENTED, which clients must take as "healthy, and
do not ask again" (grpc doc/health-checking.md); Envoy's health checker only uses `Check`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from chassis.rpc import Methods, RpcError, StatusCode, UnaryHandler
from chassis.service import Service
from protos import health_pb2

CHECK_METHOD = "/grpc.health.v1.Health/Check"

_Status = health_pb2.HealthCheckResponse.ServingStatus
_SERVING = health_pb2.HealthCheckResponse(status=_Status.SERVING).SerializeToString()
_NOT_SERVING = health_pb2.HealthCheckResponse(status=_Status.NOT_SERVING).SerializeToString()


@dataclass(slots=True)
class HostState:
    """What changes while a host runs; written by the transport, read by health and admin pages.

    Attributes:
        is_draining: The stop was asked for; no new calls should be sent here.
        is_insecure_listen: The listener is off loopback without mutual TLS.
        tls_warnings: Returns what an operator should know about the certificates.
        admin_warnings: Returns what an operator should know about the admin token.
    """

    is_draining: bool = False
    is_insecure_listen: bool = False
    tls_warnings: Callable[[], tuple[str, ...]] = tuple
    admin_warnings: Callable[[], tuple[str, ...]] = tuple


def service_names(methods: Methods) -> frozenset[str]:
    """Return the full gRPC service names that the method paths belong to."""
    return frozenset(path.split("/")[1] for path in methods)


def health_check(service: Service, state: HostState) -> UnaryHandler:
    """Return the handler of `/grpc.health.v1.Health/Check` for one service."""
    known = service_names(service.methods) | {""}

    async def check(message: bytes, deadline: float) -> bytes:
        try:
            asked = health_pb2.HealthCheckRequest.FromString(message).service
        except DecodeError:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "request is not a HealthCheckRequest") from None
        if asked not in known:
            raise RpcError(StatusCode.NOT_FOUND, "unknown service")
        return _SERVING if service.readiness().is_ready and not state.is_draining else _NOT_SERVING

    return check
