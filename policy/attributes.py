"""The catalogue of payment attributes: what rules may read and what a body profile may fill.

Part of the CEL environment, and with it the only reader of protos/attributes.proto here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from google.protobuf.descriptor import FieldDescriptor

from protos import attributes_pb2

AttributeType = Literal["int", "string", "bool", "double"]

_TYPES: Final[Mapping[int, AttributeType]] = {
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_STRING: "string",
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_DOUBLE: "double",
}

# The other families are facts of the gate itself: a body must never be able to set them.
_BODY_FAMILIES: Final = ("payment.", "card.", "payer.", "payee.", "device.", "shipping.", "billing.")

AMOUNT: Final = "payment.amount.minor_units"
CURRENCY: Final = "payment.amount.currency"
MERCHANT_ID: Final = "merchant.id"
SUB_MERCHANT_ID: Final = "merchant.sub_id"

SUBJECT_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {"sub_merchant": SUB_MERCHANT_ID, "payer": "payer.id", "device": "device.id", "ip": "payer.ip"}
)
"""What a quota may count by, and the attribute it is read from; the card has a place of its own in a profile."""

MONEY_ATTRIBUTES: Final = (AMOUNT, CURRENCY, MERCHANT_ID)
"""What the body of an operation that moves money must name."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One scalar leaf of protos/attributes.proto.

    Attributes:
        name: Dotted name, such as `payment.amount.minor_units`.
        type: Of the value, or of each value of a list.
        is_repeated: The value is a list.
        is_from_body: A body profile may fill it.
    """

    name: str
    type: AttributeType
    is_repeated: bool
    is_from_body: bool


@lru_cache(maxsize=1)
def attribute_catalogue() -> Mapping[str, Attribute]:
    """Return every attribute by dotted name, in the order of the proto file."""
    found = _leaves(attributes_pb2.Attributes.DESCRIPTOR, "")
    return MappingProxyType({attribute.name: attribute for attribute in found})


def _leaves(message: Any, prefix: str) -> Iterator[Attribute]:
    for field in message.fields:
        name = prefix + field.name
        if field.message_type is not None:
            yield from _leaves(field.message_type, name + ".")
        else:
            is_from_body = not field.is_repeated and (
                name in (MERCHANT_ID, SUB_MERCHANT_ID) or name.startswith(_BODY_FAMILIES)
            )
            yield Attribute(name, _TYPES[field.cpp_type], field.is_repeated, is_from_body)
