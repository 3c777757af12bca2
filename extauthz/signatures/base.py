"""Rebuilds the text that was signed (RFC 9421 section 2.5) from what Envoy saw of the request.

Its law: each component has one value that everybody reads alike, or the signature is refused. Component parameters
and derived components that are not in the table below are refused as well, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extauthz.model import AuthzRequest

_FIELD_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+\Z")
_VALUE: Final = re.compile(r"[ -~\t]*\Z")
_JOINED: Final = re.compile(r",(?![ \t])")
"""Where Envoy joined two lines of a header: it writes no blank after its comma, and no value begins with one."""
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a signature is refused; a fixed text, for the operator alone."""

    detail: str


def signature_base(request: AuthzRequest, components: Sequence[str], parameters_line: str) -> bytes | Fault:
    """Return the signature base.

    Args:
        request: What Envoy saw.
        components: Covered identifiers, in order.
        parameters_line: `SignedInput.parameters_line`.
    """
    lines = []
    for name in components:
        value = _value(request, name)
        if isinstance(value, Fault):
            return value
        lines.append(f'"{name}": {value}')
    lines.append(f'"@signature-params": {parameters_line}')
    return "\n".join(lines).encode("ascii")


def _value(request: AuthzRequest, name: str) -> str | Fault:
    derive = _DERIVED.get(name)
    if derive is not None:
        value = derive(request)
        return value if _VALUE.match(value) else Fault("a derived component is not printable ASCII")
    if not _FIELD_NAME.match(name):
        return Fault("a component that is not known here")
    field = request.headers.get(name)
    if field is None:
        return Fault("a covered header is absent")
    if not _VALUE.match(field):
        return Fault("a covered header is not printable ASCII")
    if _JOINED.search(field):
        return Fault("a covered header came twice, or could be read so")
    return field.strip(" \t")


def _authority(request: AuthzRequest) -> str:
    """Section 2.2.3: lower case, without the scheme's own port (RFC 9110 section 4.2.3)."""
    return request.host.lower().removesuffix(_DEFAULT_PORTS.get(request.scheme.lower(), "\n"))


def _target_uri(request: AuthzRequest) -> str:
    """Section 2.2.2: the absolute URI that was asked for (RFC 9110 section 7.1); path and query as they were sent."""
    return f"{request.scheme.lower()}://{_authority(request)}{request.path}"


def _query(request: AuthzRequest) -> str:
    """Section 2.2.7: with its question mark, which alone stands for an absent one."""
    return f"?{request.path.partition('?')[2]}"


_DERIVED: Final[Mapping[str, Callable[[AuthzRequest], str]]] = {
    "@method": lambda request: request.method,
    "@target-uri": _target_uri,
    "@authority": _authority,
    "@scheme": lambda request: request.scheme.lower(),
    "@path": lambda request: request.path.partition("?")[0],
    "@query": _query,
}
