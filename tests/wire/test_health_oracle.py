"""Our grpc.health.v1 messages and those of grpcio-health-checking read the same bytes the same way."""

from __future__ import annotations

import warnings

import pytest

from protos import health_pb2 as ours

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from grpc_health.v1 import health_pb2 as theirs


@pytest.mark.parametrize("service", ["", "envoy.service.auth.v3.Authorization", "é"])
def test_health_request_reads_the_same_both_ways(service: str):
    data = ours.HealthCheckRequest(service=service).SerializeToString()
    assert data == theirs.HealthCheckRequest(service=service).SerializeToString()
    assert ours.HealthCheckRequest.FromString(data).service == theirs.HealthCheckRequest.FromString(data).service


def test_every_health_status_has_the_same_name_and_bytes():
    statuses = dict(theirs.HealthCheckResponse.ServingStatus.items())
    assert dict(ours.HealthCheckResponse.ServingStatus.items()) == statuses
    for number in statuses.values():
        data = theirs.HealthCheckResponse(status=number).SerializeToString()
        assert ours.HealthCheckResponse.FromString(data).status == number
        assert ours.HealthCheckResponse(status=number).SerializeToString() == data
