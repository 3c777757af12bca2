"""The one table of cases that are not replayed here yet, by area, and of those that the gate decides otherwise."""

from __future__ import annotations

_NOT_BUILT: dict[str, tuple[str, ...]] = {}

NOT_BUILT: dict[str, str] = {case_id: area for area, ids in _NOT_BUILT.items() for case_id in ids}

DECIDED_OTHERWISE: dict[str, str] = {
    "anonymous-only-where-named": "every operation needs a token",
    "client-cert-identity-from-peer": "a certificate confirms a token and stands for none",
}
"""Cases the gate answers more strictly, with the reason; docs/decisions has the page."""
