"""Entries of Envoy's access log, as envoy-data-plane writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from betterproto2 import Message
from google.protobuf.struct_pb2 import Struct

from chassis.access_log import MAX_ENTRIES, LogEntry, read_entries
from chassis.rpc import RpcError, StatusCode
from helpers.wire_oracle import access_log, access_log_service, core
from protos import envoy_wire_pb2 as wire

NAMESPACE = "envoy.filters.http.ext_authz"


def message(*entries: Message) -> bytes:
    logs = access_log_service.StreamAccessLogsMessageHttpAccessLogEntries(log_entry=list(entries))
    return bytes(access_log_service.StreamAccessLogsMessage(http_logs=logs))


def entry(**common: object) -> Message:
    return access_log.HttpAccessLogEntry(common_properties=access_log.AccessLogCommon(**common))


def with_metadata(members: dict[str, object], namespace: str = NAMESPACE) -> bytes:
    written = wire.StreamAccessLogsMessage()
    struct = Struct()
    struct.update(members)
    written.http_logs.log_entry.add().common_properties.metadata.filter_metadata[namespace].CopyFrom(struct)
    return written.SerializeToString()


def test_entry_says_how_its_request_ended():
    flags = access_log.ResponseFlags(upstream_request_timeout=True, upstream_remote_reset=True)
    place = core.Address(socket_address=core.SocketAddress(address="192.0.2.1", port_value=443))
    full = access_log.HttpAccessLogEntry(
        common_properties=access_log.AccessLogCommon(
            response_flags=flags,
            upstream_remote_address=place,
            time_to_first_upstream_tx_byte=timedelta(milliseconds=2),
            upstream_request_attempt_count=2,
        ),
        response=access_log.HttpResponseProperties(response_code=504, response_code_details="response_timeout"),
    )
    assert list(read_entries(message(full), NAMESPACE)) == [
        LogEntry(
            metadata={},
            status=504,
            details="response_timeout",
            flags=frozenset({"upstream_request_timeout", "upstream_remote_reset"}),
            has_upstream=True,
            is_sent=True,
            attempts=2,
        )
    ]


def test_entry_that_says_nothing_is_empty():
    nothing = LogEntry({}, 0, "", frozenset(), has_upstream=False, is_sent=False, attempts=0)
    assert list(read_entries(message(entry(), entry()), NAMESPACE)) == [nothing, nothing]
    assert list(read_entries(b"", NAMESPACE)) == []


def test_text_of_one_namespace_is_read_and_nothing_else():
    members = {"merchant_id": "m1", "amount": 5.0, "list": ["a"], "inner": {"a": "b"}, "none": None, "is": True}
    (found,) = read_entries(with_metadata(members), NAMESPACE)
    assert found.metadata == {"merchant_id": "m1"}
    (found,) = read_entries(with_metadata(members, "another"), NAMESPACE)
    assert found.metadata == {}


@pytest.mark.parametrize("kind", ["DownstreamStart", "DownstreamPeriodic", "UpstreamEnd", "TcpConnectionEnd"])
def test_request_that_is_not_over_is_left_out(kind: str):
    unfinished = entry(access_log_type=access_log.AccessLogType[kind])
    over = entry(access_log_type=access_log.AccessLogType.DownstreamEnd)
    assert len(list(read_entries(message(unfinished, over, unfinished), NAMESPACE))) == 1


def test_what_is_no_message_is_refused():
    with pytest.raises(RpcError) as caught:
        read_entries(b"\xff\xff", NAMESPACE)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    with pytest.raises(RpcError) as caught:
        read_entries(message(*([entry()] * (MAX_ENTRIES + 1))), NAMESPACE)
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
