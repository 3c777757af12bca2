"""What goes into `WWW-Authenticate`: one challenge a scheme that is taken, all in one header.

Called by `wire` alone. Its law (RFC 9449 section 7.2): detail stands in the challenge of the scheme that the client
used; a client that used none is told the schemes and no error.
"""

from __future__ import annotations

from typing import Final

from extauthz.model import Challenge

DPOP_SCHEME: Final = "dpop"
_DPOP_ERRORS: Final = frozenset({"invalid_dpop_proof", "use_dpop_nonce"})
"""Errors that only the DPoP challenge has (RFC 9449 sections 7.1 and 9)."""


def scheme_of(authorization: str) -> str:
    """Return the scheme of an Authorization header in small letters; empty where it holds several values."""
    return "" if "," in authorization else authorization.strip(" \t").partition(" ")[0].lower()


def write_challenges(
    challenge: Challenge, authorization: str, *, realm: str, dpop_algorithms: str, resource_metadata: str = ""
) -> str:
    """Return the value of `WWW-Authenticate`.

    Args:
        challenge: What was wrong.
        authorization: The header as the client sent it; empty for none.
        realm: No quotes or backslashes, like every value here.
        dpop_algorithms: Separated by blanks; empty where DPoP is not taken, and then it is not offered.
        resource_metadata: Where the metadata of this API is (RFC 9728 section 5.1); empty where there is none.
    """
    detail = _detail(challenge)
    found_at = (f'resource_metadata="{resource_metadata}"',) if resource_metadata else ()
    common = (f'realm="{realm}"', *found_at)
    if not dpop_algorithms:
        return "Bearer " + ", ".join((*common, *detail))
    is_dpop = challenge.error in _DPOP_ERRORS or scheme_of(authorization) == DPOP_SCHEME
    bearer = common if is_dpop else (*common, *detail)
    dpop = (*common, *(detail if is_dpop else ()), f'algs="{dpop_algorithms}"')
    return f"Bearer {', '.join(bearer)}, DPoP {', '.join(dpop)}"


def write_dpop_challenge(challenge: Challenge, *, realm: str, dpop_algorithms: str, resource_metadata: str = "") -> str:
    """Return the value of `WWW-Authenticate` of an operation that takes DPoP alone; arguments as above."""
    found_at = (f'resource_metadata="{resource_metadata}"',) if resource_metadata else ()
    return "DPoP " + ", ".join((f'realm="{realm}"', *found_at, *_detail(challenge), f'algs="{dpop_algorithms}"'))


def _detail(challenge: Challenge) -> tuple[str, ...]:
    members = {
        "error": challenge.error,
        "error_description": challenge.description,
        "scope": challenge.scope,
        "acr_values": challenge.acr_values,
        "max_age": challenge.max_age,
    }
    return tuple(f'{name}="{value}"' for name, value in members.items() if value is not None)
