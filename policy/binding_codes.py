"""Diagnostic codes of sender-constrained tokens; `codes` puts them beside the others."""

from __future__ import annotations

from typing import Final

from policy.code_spec import CodeSpec

BINDING: Final = {
    "P090": CodeSpec(
        "payments take a DPoP proof that may be used again",
        "`dpop: {replay: unchecked}` while an operation moves money",
        "`replay: checked`; or `sender_constraint: certificate` for every operation that moves money",
        "A proof does not cover the body: whoever catches one could send it again with another amount or creditor.",
    ),
    "P091": CodeSpec(
        "source and trusted_hop contradict each other",
        "`client_certificate: {source: trusted_hop}` alone, or `trusted_hop` with `source: connection`",
        "`client_certificate: {source: trusted_hop, trusted_hop: spiffe://edge.example/envoy}`",
        "A header that anybody can send must be believed from one proxy, known by its certificate, or not at all.",
    ),
    "P092": CodeSpec(
        "an operation demands a binding that no token can have",
        "`sender_constraint: dpop` while no provider has `dpop`",
        "`dpop: {}` at the provider whose tokens are bound to DPoP keys",
        "Every request of the operation would be refused with token_binding.",
    ),
    "P093": CodeSpec(
        "used proofs are remembered and there is no store",
        "`dpop` in providers.yaml or `message_signature` in routes.yaml, and extauthz started without `--store`",
        "`--store rediss://...`, the same for all replicas",
        "Each replica would take it once, so a caught proof or signature would pass as often as there are replicas.",
    ),
    "P094": CodeSpec(
        "nonces are required and there is no key to make them with",
        "`dpop: {nonce: required}`, and extauthz started without `--dpop-nonce-key-file`",
        "`--dpop-nonce-key-file FILE`, the same for all replicas; `tollhouse card-key new FILE` writes one",
        "Without a key that only the gate has, clients could make nonces by themselves.",
    ),
}
"""By code."""
