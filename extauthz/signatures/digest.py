"""Content-Digest (RFC 9530 section 2) against the body that Envoy handed over."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from extauthz.signatures.base import Fault
from extauthz.signatures.fields import read_dictionary

DIGEST_HEADER: Final = "content-digest"
WANTED: Final = "sha-256=10, sha-512=9"
"""Value of Want-Content-Digest (RFC 9530 section 4)."""
_HASHES: Final[dict[str, Callable[[bytes], Any]]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
"""The active algorithms of RFC 9530 section 5; the deprecated ones prove nothing and are passed over."""


def digest_fault(field: str, body: bytes) -> Fault | None:
    """Say what is wrong with a Content-Digest: every digest that is known must be the body's, and one must be there.

    Args:
        field: Value of the header.
        body: All of it, as it was sent.
    """
    members = read_dictionary(field)
    if isinstance(members, Fault):
        return members
    known = [(compute, members[name]) for name, compute in _HASHES.items() if name in members]
    if not known:
        return Fault("no sha-256 and no sha-512")
    for compute, (value, parameters) in known:
        if type(value) is not bytes or parameters or not hmac.compare_digest(value, compute(body).digest()):
            return Fault("the digest is not the body's")
    return None
