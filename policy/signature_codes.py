"""Diagnostic codes of message signatures; `codes` puts them beside the others."""

from __future__ import annotations

from typing import Final

from policy.code_spec import CodeSpec

SIGNATURES: Final = {
    "P100": CodeSpec(
        "a signature that leaves a payment open",
        '`components: ["@method", "@target-uri"]` for an operation that moves money',
        '`components: ["@method", "@target-uri", authorization, content-digest]`, the default; the header of '
        "`idempotency` too where a key is required",
        "What is not covered can be exchanged: the body with its amount, the token, the address, the key of a repeat.",
    ),
    "P101": CodeSpec(
        "a digest of a body that is not read",
        "`content-digest` among the components of an operation without `profile`",
        '`components: ["@method", "@target-uri", authorization]`; or a body profile',
        "Without a body clients send no digest, and their requests are refused; a body that matters has a profile.",
    ),
    "P102": CodeSpec(
        "an operation demands signatures that nobody can make",
        "`message_signature: {}` while providers.yaml has no `signers`",
        "`signers` with the public keys of the clients",
        "Every request of the operation would be refused with signature_invalid.",
    ),
    "P103": CodeSpec(
        "a signature is chosen in two ways",
        "`message_signature: {label: sig1, tag: payments}`",
        "`tag: payments`",
        "A label is not covered by its signature and a tag is; of two rules the weaker one would be relied on.",
    ),
    "P104": CodeSpec(
        "a signer's key cannot be used",
        "`algorithm: ed25519` with an EC key, an RSA key below 2048 bits, a point that is not on its curve",
        "a public key of the kind that the algorithm needs: EC P-256, OKP Ed25519, RSA of 2048 bits or more",
        "Every request of this client would be refused, or its key could be computed by others.",
    ),
    "P105": CodeSpec(
        "signatures with an outdated padding (warning)",
        "`algorithm: rsa-v1_5-sha256`",
        "`ed25519`, `ecdsa-p256-sha256` or `rsa-pss-sha512`",
        "PKCS #1 v1.5 is kept for old clients; checks of it have been broken again and again.",
    ),
}
"""By code."""
