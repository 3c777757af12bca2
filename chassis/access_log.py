"""Reads what Envoy says of finished requests: messages of the gRPC access log (envoy/service/accesslog/v3/als.proto).

The only module that knows these messages. Its law: an entry that cannot be read is dropped and counted, and takes no
other one along; what an entry does not say is empty, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from chassis.rpc import RpcError, StatusCode
from protos import envoy_wire_pb2 as wire

STREAM_METHOD: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
REPLY: Final = wire.StreamAccessLogsResponse().SerializeToString()
MAX_ENTRIES: Final = 10_000
"""In one message; Envoy sends what one second or 16 KiB brought."""

_NOT_SET, _DOWNSTREAM_END = 0, 6
"""envoy.data.accesslog.v3.AccessLogType: the entries that are about a request which is over."""


class LogEntry(NamedTuple):
    """One request that is over, as Envoy saw it.

    Attributes:
        metadata: Text members of one namespace of the dynamic metadata; numbers and all else are left out.
        status: That the caller was answered with; 0: none.
        details: Why, in Envoy's words (`response_code_details`), such as `via_upstream`.
        flags: Names of the response flags that are set (envoy.data.accesslog.v3.ResponseFlags).
        has_upstream: An upstream host was connected, or tried.
        is_sent: A byte of the request went to an upstream.
        attempts: How many times the request was tried upstream; 0 where it says nothing.
        tags: What Envoy's configuration adds to each entry (`custom_tags`).
    """

    metadata: Mapping[str, str]
    status: int
    details: str
    flags: frozenset[str]
    has_upstream: bool
    is_sent: bool
    attempts: int
    tags: Mapping[str, str] = MappingProxyType({})


def read_entries(message: bytes, namespace: str) -> Iterator[LogEntry]:
    """Return the entries of finished HTTP requests in one StreamAccessLogsMessage.

    Args:
        message: Serialised.
        namespace: Of the dynamic metadata that is wanted.

    Raises:
        RpcError: INVALID_ARGUMENT for bytes that are no such message, RESOURCE_EXHAUSTED for one with more than
            `MAX_ENTRIES`.
    """
    parsed = wire.StreamAccessLogsMessage()
    try:
        parsed.ParseFromString(message)
    except DecodeError:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "not an access log message") from None
    if len(parsed.http_logs.log_entry) > MAX_ENTRIES:
        raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many entries in one message")
    return (_entry(entry, namespace) for entry in parsed.http_logs.log_entry if _is_over(entry.common_properties))


def _is_over(common: wire.AccessLogCommon) -> bool:
    return common.access_log_type in (_NOT_SET, _DOWNSTREAM_END)


def _entry(entry: wire.HTTPAccessLogEntry, namespace: str) -> LogEntry:
    common, response = entry.common_properties, entry.response
    members = common.metadata.filter_metadata
    fields = members[namespace].fields if namespace in members else {}
    return LogEntry(
        metadata={name: value.string_value for name, value in fields.items() if value.HasField("string_value")},
        status=response.response_code.value,
        details=response.response_code_details,
        flags=frozenset(field.name for field, _ in common.response_flags.ListFields()),
        has_upstream=common.HasField("upstream_remote_address"),
        is_sent=common.HasField("time_to_first_upstream_tx_byte"),
        attempts=common.upstream_request_attempt_count,
        tags=dict(common.custom_tags),
    )
