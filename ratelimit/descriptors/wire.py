"""Steps `parse` and `render` for descriptors: Envoy's RateLimitRequest and RateLimitResponse.

Source: envoy/service/ratelimit/v3/rls.proto. Its law: Envoy lets `UNKNOWN` pass, so every answer sets `overall_code`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from policy.descriptors.tree import Json, LimitRule
from protos import envoy_wire_pb2 as wire
from ratelimit.descriptors.judge import is_quota
from ratelimit.descriptors.model import (
    Descriptor,
    DescriptorAnswer,
    DescriptorQuery,
    EngineOptions,
    Found,
    Override,
    Status,
)
from ratelimit.model import OverLimit

_RateLimit = wire.RateLimitResponse.RateLimit
_UNIT_NUMBERS: Final = {
    "second": _RateLimit.SECOND,
    "minute": _RateLimit.MINUTE,
    "hour": _RateLimit.HOUR,
    "day": _RateLimit.DAY,
    "week": _RateLimit.WEEK,
    "month": _RateLimit.MONTH,
    "year": _RateLimit.YEAR,
}


def parse_descriptor_query(data: bytes) -> DescriptorQuery | None:
    """Read one serialised RateLimitRequest; None for bytes that are none."""
    message = wire.RateLimitRequest()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return query_of(message)


def query_of(message: wire.RateLimitRequest) -> DescriptorQuery:
    """Return the request as plain values."""
    return DescriptorQuery(
        message.domain, tuple(_descriptor(each) for each in message.descriptors), message.hits_addend
    )


def _descriptor(message: wire.RateLimitDescriptor) -> Descriptor:
    return Descriptor(
        tuple((entry.key, entry.value) for entry in message.entries),
        Override(message.limit.requests_per_unit, message.limit.unit) if message.HasField("limit") else None,
        message.hits_addend.value if message.HasField("hits_addend") else None,
        message.is_negative_hits,
    )


def render_answer(answer: DescriptorAnswer, query: DescriptorQuery, options: EngineOptions) -> bytes:
    """Write down an answer that has a status for each descriptor."""
    response = wire.RateLimitResponse()
    is_over = isinstance(answer.verdict, OverLimit)
    response.overall_code = wire.RateLimitResponse.OVER_LIMIT if is_over else wire.RateLimitResponse.OK
    for status in answer.statuses:
        _add_status(response, status)
    if options.header_names:
        _add_headers(response, answer, options)
    if options.has_metadata:
        response.dynamic_metadata.update(_metadata(answer, query))
    if isinstance(answer.verdict, OverLimit) and not options.is_compat:
        # What the reference chain's local replies look at, as for quotas.
        response.dynamic_metadata["http_status"] = answer.verdict.reason.spec.http_status
        response.dynamic_metadata["reason"] = answer.verdict.reason.code
    return response.SerializeToString()


def _add_status(response: wire.RateLimitResponse, status: Status) -> None:
    code = wire.RateLimitResponse.OVER_LIMIT if status.is_over else wire.RateLimitResponse.OK
    message = response.statuses.add(code=code, limit_remaining=status.remaining)
    limit = status.limit
    if limit is None or limit.unit is None:
        return
    message.current_limit.requests_per_unit = limit.requests_per_unit
    message.current_limit.unit = _UNIT_NUMBERS[limit.unit]
    message.current_limit.name = limit.name
    message.duration_until_reset.seconds = status.reset_seconds


def _add_headers(response: wire.RateLimitResponse, answer: DescriptorAnswer, options: EngineOptions) -> None:
    status = _shown(answer.found, answer.statuses, options)
    if status is None or status.limit is None:
        return
    values = (status.limit.requests_per_unit, status.remaining, status.reset_seconds)
    for name, value in zip(options.header_names, values, strict=True):
        response.response_headers_to_add.add(key=name, value=str(value))


def _shown(found: Sequence[Found], statuses: Sequence[Status], options: EngineOptions) -> Status | None:
    """Return the last limit that refuses by itself, else the first with the least left."""
    shown: Status | None = None
    for each, status in zip(found, statuses, strict=True):
        if status.limit is None:
            continue
        refuses = status.is_over and not is_quota(each, options)
        if refuses or shown is None or status.remaining < shown.remaining:
            shown = status
    return shown


def _metadata(answer: DescriptorAnswer, query: DescriptorQuery) -> dict[str, Any]:
    """Return what was asked, and the metadata of the rules that passed; nothing of it outlives the request."""
    metadata: dict[str, Any] = {}
    for each, status in zip(answer.found, answer.statuses, strict=True):
        if each.limit is not None and each.limit.metadata and not status.is_over:
            _merge(metadata, each.limit.metadata)
    echoed: dict[str, Any] = {
        "domain": query.domain,
        "descriptors": [_echo(descriptor) for descriptor in query.descriptors],
    }
    if query.hits:
        echoed["hitsAddend"] = query.hits
    if metadata:
        echoed["metadata"] = metadata
    return echoed


def _echo(descriptor: Descriptor) -> dict[str, Any]:
    echoed: dict[str, Any] = {"entries": [f"{key}={value}" for key, value in descriptor.entries]}
    if descriptor.override is not None:
        number = descriptor.override.unit
        known = number in wire.RateLimitUnit.values()
        unit = wire.RateLimitUnit.Name(wire.RateLimitUnit.ValueType(number)) if known else str(number)
        echoed["limit"] = {"requestsPerUnit": descriptor.override.requests_per_unit, "unit": unit}
    if descriptor.hits is not None:
        echoed["hitsAddend"] = descriptor.hits
    return echoed


def _merge(target: dict[str, Any], source: Mapping[str, Json]) -> None:
    """Add what is not there yet, maps within maps too; the first value wins and lists are not joined."""
    for key, value in source.items():
        if key not in target:
            target[key] = _thawed(value)
        elif isinstance(value, Mapping) and isinstance(target[key], dict):
            _merge(target[key], value)


def _thawed(value: Json) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(each) for key, each in value.items()}
    return [_thawed(each) for each in value] if isinstance(value, tuple) else value


def limit_text(limit: LimitRule) -> str:
    """Return a limit in words, for the debug view."""
    if limit.is_unlimited:
        return "unlimited"
    return f"{limit.requests_per_unit} per {limit.unit}"
