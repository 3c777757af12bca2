"""How many files and connections this process may have open: systems grant less by default than a service needs.

Called by both transports before they listen. The hosting Envoy inherits what is set here.
"""

from __future__ import annotations

import resource
from typing import Final

WANTED: Final = 16_384
_FOR_ALL_ELSE: Final = 256
"""Descriptors that are kept for files, the admin pages, the store and the token issuer."""


def raise_descriptor_limit() -> None:
    """Let this process and its children open as many files as it wants, or as many as the hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within_limit(wanted: int) -> int:
    """Return how many connections may be open so that descriptors are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(soft - _FOR_ALL_ELSE, soft // 2))
