"""Our wire subset and envoy-data-plane's full definitions read the same bytes the same way.

The two share no code: ours is compiled by protoc, the other is generated for betterproto2.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.wire_oracle import (
    ORACLES,
    access_log,
    auth,
    core,
    envoy_type,
    is_map,
    messages,
    our_messages,
    rls,
    view_oracle,
    view_ours,
)
from protos import envoy_wire_pb2 as wire

KINDS: list[type[Message]] = [
    wire.CheckRequest,
    wire.CheckResponse,
    wire.RateLimitRequest,
    wire.RateLimitResponse,
    wire.StreamAccessLogsMessage,
]
TYPE_NAMES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}
NUMBERED_ENUMS = {"HttpStatus.code", "AccessLogCommon.access_log_type"}
"""Enums of Envoy's that ours reads as plain numbers; the bytes are the same."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.DESCRIPTOR.name)
@pytest.mark.filterwarnings("ignore:HeaderValueOption.append is deprecated:DeprecationWarning")
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_message_of_ours_reads_the_same_in_the_full_definition_and_back(kind: type[Message], data: st.DataObject):
    ours = data.draw(messages(kind))
    theirs = ORACLES[kind.DESCRIPTOR.name].parse(ours.SerializeToString())
    assert view_ours(ours) == view_oracle(theirs, kind.DESCRIPTOR)
    returned = kind.FromString(bytes(theirs))
    assert view_ours(ours) == view_ours(returned)


def test_every_message_of_ours_has_a_full_definition():
    assert set(ORACLES) == set(our_messages())


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_every_field_of_ours_has_envoys_number_type_and_shape(name: str):
    full = {field.name: field.metadata["betterproto"] for field in dataclasses.fields(ORACLES[name])}
    for field in our_messages()[name].fields:
        expected = full[field.name]
        assert (expected.number, expected.map_meta is not None) == (field.number, is_map(field)), field.name
        if is_map(field):
            continue
        assert expected.repeated == field.is_repeated, field.name
        if f"{name}.{field.name}" in NUMBERED_ENUMS:
            assert (expected.proto_type, TYPE_NAMES[field.type]) == ("enum", "int32")
        else:
            assert expected.proto_type == TYPE_NAMES[field.type], field.name


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (wire.RateLimitUnit, envoy_type.RateLimitUnit),
        (wire.RateLimitResponse.Code, rls.RateLimitResponseCode),
        (wire.RateLimitResponse.RateLimit.Unit, rls.RateLimitResponseRateLimitUnit),
        (wire.HeaderValueOption.HeaderAppendAction, core.HeaderValueOptionHeaderAppendAction),
        (wire.ResponseFlags.Unauthorized.Reason, access_log.ResponseFlagsUnauthorizedReason),
    ],
    ids=["override unit", "rate limit code", "rate limit unit", "header append action", "unauthorized reason"],
)
def test_every_enum_value_of_ours_has_envoys_name_and_number(ours: Any, theirs: Any):
    assert dict(ours.items()) == {member.name: int(member) for member in theirs}


def test_fields_that_only_the_full_definition_has_are_passed_over():
    full = auth.CheckRequest(
        attributes=auth.AttributeContext(
            source=auth.AttributeContextPeer(
                address=core.Address(socket_address=core.SocketAddress(address="192.0.2.1", named_port="https"))
            ),
            request=auth.AttributeContextRequest(http=auth.AttributeContextHttpRequest(method="POST")),
            route_metadata_context=core.Metadata(),
        )
    )
    ours = wire.CheckRequest.FromString(bytes(full))
    assert view_oracle(full, wire.CheckRequest.DESCRIPTOR) == view_ours(ours)


def test_quota_answer_of_the_full_definition_is_passed_over():
    full = rls.RateLimitResponse(
        overall_code=rls.RateLimitResponseCode.OVER_LIMIT, quota=rls.RateLimitResponseQuota(requests=5)
    )
    ours = wire.RateLimitResponse.FromString(bytes(full))
    assert (ours.overall_code, len(ours.statuses)) == (wire.RateLimitResponse.OVER_LIMIT, 0)


def test_nanoseconds_travel_although_the_full_definition_rounds_them():
    status = wire.RateLimitResponse.DescriptorStatus()
    status.duration_until_reset.seconds = 1
    status.duration_until_reset.nanos = 1
    assert status.SerializeToString() == bytes.fromhex("220408011001")


@pytest.mark.parametrize("member", ["denied_response", "ok_response", "error_response"])
def test_an_empty_member_of_the_answer_is_still_the_one_that_was_chosen(member: str):
    response = wire.CheckResponse(status=wire.Status(code=14))
    getattr(response, member).SetInParent()
    full = auth.CheckResponse.parse(response.SerializeToString())
    chosen = [name for name in ("denied_response", "ok_response", "error_response") if getattr(full, name) is not None]
    assert chosen == [member]
    assert wire.CheckResponse.FromString(bytes(full)).WhichOneof("http_response") == member


def test_every_response_flag_of_envoys_is_one_of_ours():
    theirs = {
        field.name: field.metadata["betterproto"].number for field in dataclasses.fields(access_log.ResponseFlags)
    }
    assert {field.name: field.number for field in wire.ResponseFlags.DESCRIPTOR.fields} == theirs
