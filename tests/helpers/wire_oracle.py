"""Envoy's messages in two independent definitions: ours (protobuf) and envoy-data-plane's (betterproto2).

`messages` draws one of ours with any of its fields set, `view_ours` and `view_oracle` write either
definition down as the same plain values, so that a test can compare them.
"""

from __future__ import annotations

import datetime
import warnings
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from hypothesis import strategies as st

from protos import envoy_wire_pb2 as wire

with warnings.catch_warnings():
    # The package's classes use a pydantic spelling that is deprecated; that is between the two of them.
    warnings.simplefilter("ignore", DeprecationWarning)
    import envoy_data_plane.envoy.config.core.v3 as core
    import envoy_data_plane.envoy.data.accesslog.v3 as access_log
    import envoy_data_plane.envoy.extensions.common.ratelimit.v3 as common
    import envoy_data_plane.envoy.service.accesslog.v3 as access_log_service
    import envoy_data_plane.envoy.service.auth.v3 as auth
    import envoy_data_plane.envoy.service.ratelimit.v3 as rls
    import envoy_data_plane.envoy.type.v3 as envoy_type
    import envoy_data_plane.google.rpc as google_rpc

__all__ = [
    "ORACLES",
    "access_log",
    "auth",
    "core",
    "envoy_type",
    "is_map",
    "messages",
    "our_messages",
    "rls",
    "view_oracle",
    "view_ours",
]

PACKAGE = "tollhouse.wire.v1."

ORACLES: dict[str, Any] = {
    "SocketAddress": core.SocketAddress,
    "Pipe": core.Pipe,
    "Address": core.Address,
    "HeaderValue": core.HeaderValue,
    "HeaderMap": core.HeaderMap,
    "HeaderValueOption": core.HeaderValueOption,
    "Metadata": core.Metadata,
    "HttpStatus": envoy_type.HttpStatus,
    "Status": google_rpc.Status,
    "AttributeContext": auth.AttributeContext,
    "AttributeContext.Peer": auth.AttributeContextPeer,
    "AttributeContext.HttpRequest": auth.AttributeContextHttpRequest,
    "AttributeContext.Request": auth.AttributeContextRequest,
    "AttributeContext.TLSSession": auth.AttributeContextTlsSession,
    "CheckRequest": auth.CheckRequest,
    "DeniedHttpResponse": auth.DeniedHttpResponse,
    "OkHttpResponse": auth.OkHttpResponse,
    "CheckResponse": auth.CheckResponse,
    "RateLimitDescriptor": common.RateLimitDescriptor,
    "RateLimitDescriptor.Entry": common.RateLimitDescriptorEntry,
    "RateLimitDescriptor.RateLimitOverride": common.RateLimitDescriptorRateLimitOverride,
    "RateLimitRequest": rls.RateLimitRequest,
    "RateLimitResponse": rls.RateLimitResponse,
    "RateLimitResponse.RateLimit": rls.RateLimitResponseRateLimit,
    "RateLimitResponse.DescriptorStatus": rls.RateLimitResponseDescriptorStatus,
    "ResponseFlags": access_log.ResponseFlags,
    "ResponseFlags.Unauthorized": access_log.ResponseFlagsUnauthorized,
    "AccessLogCommon": access_log.AccessLogCommon,
    "HTTPResponseProperties": access_log.HttpResponseProperties,
    "HTTPAccessLogEntry": access_log.HttpAccessLogEntry,
    "StreamAccessLogsMessage": access_log_service.StreamAccessLogsMessage,
    "StreamAccessLogsMessage.Identifier": access_log_service.StreamAccessLogsMessageIdentifier,
    "StreamAccessLogsMessage.HTTPAccessLogEntries": access_log_service.StreamAccessLogsMessageHttpAccessLogEntries,
    "StreamAccessLogsResponse": access_log_service.StreamAccessLogsResponse,
}
"""Each message of protos/envoy_wire.proto with its full definition."""

_WRAPPERS = ("google.protobuf.BoolValue", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_TEXT = st.text(max_size=12)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=12),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(0, 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 8), st.integers(0, 2**31 - 1)),
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=4,
)
_MICROSECONDS = st.integers(0, 999_999).map(lambda micros: micros * 1000)
# The oracle keeps times as datetime and timedelta, which hold no nanoseconds (those have a test of their own),
# and computes a timedelta in doubles, so durations stay below 2^53 microseconds.
_TIMES = {
    "google.protobuf.Timestamp": st.fixed_dictionaries(
        {"seconds": st.integers(0, 253_402_300_799), "nanos": _MICROSECONDS}
    ),
    "google.protobuf.Duration": st.fixed_dictionaries({"seconds": st.integers(0, 10**9), "nanos": _MICROSECONDS}),
}


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Draw a message of `kind` with any subset of its fields, nested ones included."""
    return _trees(kind.DESCRIPTOR).map(lambda tree: _filled(kind(), tree))


def view_ours(message: Message) -> dict[str, Any]:
    """Write a message of ours down as plain values; None for what is absent."""
    return {field.name: _ours(message, field) for field in message.DESCRIPTOR.fields}


def view_oracle(message: Any, descriptor: Descriptor) -> dict[str, Any]:
    """Write the fields of the full definition that `descriptor`, one of ours, has."""
    return {field.name: _oracle(getattr(message, field.name), field) for field in descriptor.fields}


def our_messages() -> dict[str, Descriptor]:
    """Return each message of ours by its name, map entries left out."""
    found: dict[str, Descriptor] = {}
    waiting = list(wire.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        descriptor = waiting.pop()
        if not descriptor.GetOptions().map_entry:
            found[descriptor.full_name.removeprefix(PACKAGE)] = descriptor
            waiting += descriptor.nested_types
    return found


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _trees(descriptor: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={field.name: _values(field) for field in descriptor.fields})


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if is_map(field):
        return st.dictionaries(_TEXT, _singles(field.message_type.fields_by_name["value"]), max_size=3)
    return st.lists(_singles(field), max_size=3) if field.is_repeated else _singles(field)


def _singles(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return _SCALARS[field.type]
    match field.message_type.full_name:
        case "google.protobuf.Struct":
            return st.dictionaries(_TEXT, _JSON, max_size=3)
        case "google.protobuf.Timestamp" | "google.protobuf.Duration":
            return _TIMES[field.message_type.full_name]
        case _:
            return _trees(field.message_type)


def _filled(message: Message, tree: dict[str, Any]) -> Message:
    if isinstance(message, Struct):
        message.update(tree)
        return message
    message.SetInParent()
    for name, value in tree.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        target = getattr(message, name)
        if is_map(field):
            _fill_map(target, field.message_type.fields_by_name["value"], value)
        elif field.is_repeated:
            for item in value:
                _filled(target.add(), item) if field.message_type else target.append(item)
        elif field.message_type:
            target.SetInParent()
            _filled(target, value)
        else:
            setattr(message, name, value)
    return message


def _fill_map(target: Any, value_field: FieldDescriptor, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if value_field.message_type:
            _filled(target[key], value)
        else:
            target[key] = value


def _ours(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if is_map(field):
        has_messages = field.message_type.fields_by_name["value"].message_type
        return {key: view_ours(item) if has_messages else item for key, item in value.items()}
    if field.is_repeated:
        return [view_ours(item) if field.message_type else item for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    if field.message_type is None:
        return value
    return value.value if field.message_type.full_name in _WRAPPERS else view_ours(value)


def _oracle(value: Any, field: FieldDescriptor) -> Any:
    if is_map(field):
        value_field = field.message_type.fields_by_name["value"]
        return {key: _oracle_single(item, value_field) for key, item in value.items()}
    if field.is_repeated:
        return [_oracle_single(item, field) for item in value]
    if value is None:
        # Ours may have no presence where Envoy's definition has a oneof: then absent reads as the default.
        return None if field.has_presence else field.default_value
    return _oracle_single(value, field)


def _oracle_single(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, datetime.datetime):
        value = value - _EPOCH
    if isinstance(value, datetime.timedelta):
        return {"seconds": value.days * 86_400 + value.seconds, "nanos": value.microseconds * 1000}
    if field.message_type is None or field.message_type.full_name in _WRAPPERS:
        return int(value) if field.enum_type is not None else value
    return view_oracle(value, field.message_type)
