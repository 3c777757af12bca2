"""What Envoy's jwt_authn filter says of the token that it verified; called by `wire` alone.

Protos: google/protobuf/struct.proto, envoy/extensions/filters/http/jwt_authn/v3/config.proto (`payload_in_metadata`).
The law: a number that a double may have changed is not read, and a payload that holds one is as if it were absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from protos import envoy_wire_pb2 as wire

NAMESPACE: Final = "envoy.filters.http.jwt_authn"
"""Envoy's own name; the filter writes nowhere else, and no request can."""
MAX_DEPTH: Final = 16
"""As deep as claims may be nested in a token that is read here."""
MAX_EXACT: Final = 2**53 - 1
"""Every whole number up to here is a double of its own."""


def read_claims(metadata: wire.Metadata) -> Mapping[str, Mapping[str, Any]]:
    """Return every payload that can be read without loss, by its key.

    Args:
        metadata: `metadata_context` of a CheckRequest.
    """
    namespaces = metadata.filter_metadata
    if NAMESPACE not in namespaces:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in namespaces[NAMESPACE].fields.items():
        if value.WhichOneof("kind") == "struct_value":
            try:
                found[key] = _object(value.struct_value, MAX_DEPTH)
            except ValueError:
                continue
    return found


def read_number(value: float) -> int | Decimal:
    """Return the number that a double stands for: whole ones as integers, others in their shortest spelling.

    Raises:
        ValueError: It is no number, or so large that neighbours share its double.
    """
    if not isfinite(value) or abs(value) > MAX_EXACT:
        raise ValueError("not exact")
    return int(value) if value.is_integer() else Decimal(repr(value))


def _object(struct: Struct, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise ValueError("nested too deeply")
    return {name: _read(value, depth - 1) for name, value in struct.fields.items()}


def _list(values: ListValue, depth: int) -> list[Any]:
    if depth == 0:
        raise ValueError("nested too deeply")
    return [_read(value, depth - 1) for value in values.values]


def _read(value: Value, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return read_number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "struct_value":
            return _object(value.struct_value, depth)
        case "list_value":
            return _list(value.list_value, depth)
        case _:
            raise ValueError("a value of no kind")
