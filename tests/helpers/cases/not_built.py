"""The one table of cases that are not replayed here yet, by area, and of those that the gate decides otherwise."""

from __future__ import annotations

_NOT_BUILT: dict[str, tuple[str, ...]] = {
    "introspection": (
        *("I04", "I05", "I08", "I10", "I11"),
        *("introspection-cache-is-per-token-not-per-rule", "introspection-inactive", "introspection-timeout"),
    ),
    "binding to a certificate": (
        *("T02", "T03", "T04", "T06", "T09"),
        *("mtls-bound-token-wrong-cert", "mtls-bound-token-no-cert"),
        *("client-cert-identity-from-peer", "client-cert-url-encoded-pem"),
    ),
    "DPoP": (
        "P06",
        *("D01", "D02", "D04", "D05", "D07", "D08", "D10", "D11", "D12", "D13", "D14", "D16"),
        *("D18", "D20", "D21", "D26", "D27", "D28", "D30"),
    ),
    "message signatures": ("H01", "H02", "H05"),
    "revocation": ("J35", "V02", "V03", "V04", "V05", "V06", "V07", "V09", "revoked-before-expiry"),
}

LEVELS_NOT_BUILT = ("e2e", "contract")
"""These need a real Envoy in between."""

NOT_BUILT: dict[str, str] = {case_id: area for area, ids in _NOT_BUILT.items() for case_id in ids}

DECIDED_OTHERWISE: dict[str, str] = {
    "anonymous-only-where-named": "every operation needs a token",
}
"""Cases the gate answers more strictly, with the reason; docs/decisions has the page."""
