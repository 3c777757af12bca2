"""Reads `Signature-Input`, `Signature` and `Content-Digest`, strictly (RFC 9651, RFC 9421 section 4).

Its law: sizes are checked before the parser, a key that stands twice is refused wherever it stands, and what is not
understood is not skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import http_sf

from extauthz.signatures.base import Fault

MAX_FIELD_CHARACTERS: Final = 4096
MAX_COMMAS: Final = 32
MAX_SIGNATURES: Final = 8
MAX_COMPONENTS: Final = 32
INPUT_HEADER: Final = "signature-input"
SIGNATURE_HEADER: Final = "signature"
_PRINTABLE: Final = re.compile(r"[ -~\t]+\Z")


@dataclass(frozen=True, slots=True)
class SignedInput:
    """The one signature that counts, as it says of itself; not verified.

    Attributes:
        components: Covered component identifiers, in order; none has parameters.
        parameters: Signature parameters (RFC 9421 section 2.3), of any type.
        parameters_line: Value of `@signature-params` in the signature base.
        signature: Raw bytes.
    """

    components: tuple[str, ...]
    parameters: Mapping[str, Any]
    parameters_line: str
    signature: bytes


def read_signature(headers: Mapping[str, str], *, label: str | None, tag: str | None) -> SignedInput | Fault | None:
    """Return the signature that counts, or None where the request has none.

    Args:
        headers: Of the request; repeated ones joined with a comma.
        label: The label that counts; None for any.
        tag: The tag that counts; None for any. Without both, there must be one signature alone.
    """
    if INPUT_HEADER not in headers and SIGNATURE_HEADER not in headers:
        return None
    inputs = read_dictionary(headers.get(INPUT_HEADER, ""))
    signatures = read_dictionary(headers.get(SIGNATURE_HEADER, ""))
    if isinstance(inputs, Fault) or isinstance(signatures, Fault):
        return Fault("Signature-Input or Signature is not readable")
    if not all(isinstance(member[0], list) for member in inputs.values()):
        return Fault("a member of Signature-Input is no inner list")
    found = [name for name, member in inputs.items() if label in (None, name) and _has_tag(member[1], tag)]
    if len(found) != 1:
        return Fault("several signatures could be meant") if found else None
    return _chosen(inputs[found[0]], signatures.get(found[0]))


def _has_tag(parameters: Mapping[str, Any], tag: str | None) -> bool:
    return tag is None or (type(parameters.get("tag")) is str and parameters["tag"] == tag)


def _chosen(member: Any, signature: Any) -> SignedInput | Fault:
    listed, parameters = member
    if signature is None or type(signature[0]) is not bytes or signature[1]:
        return Fault("Signature has no bytes under the label")
    if not 0 < len(listed) <= MAX_COMPONENTS:
        return Fault("no components, or too many")
    if any(type(name) is not str or modifiers for name, modifiers in listed):
        return Fault("a component with parameters, which none is taken with")
    components = tuple(str(name) for name, _ in listed)
    if len(set(components)) != len(components):
        return Fault("a component stands twice")
    return SignedInput(components, parameters, http_sf.ser([member]), signature[0])


def read_dictionary(text: str) -> dict[str, Any] | Fault:
    """Read one dictionary: each member is a value, or a list of items, beside its parameters."""
    if len(text) > MAX_FIELD_CHARACTERS or text.count(",") > MAX_COMMAS or not _PRINTABLE.match(text):
        return Fault("too long, or not printable ASCII")
    try:
        members: Any = http_sf.parse(text.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_twice)
    except (ValueError, OverflowError):
        return Fault("not a dictionary of structured fields")
    return members if len(members) <= MAX_SIGNATURES else Fault("too many members")


def _refuse_twice(key: str, kind: str) -> None:
    raise ValueError("a key stands twice")
