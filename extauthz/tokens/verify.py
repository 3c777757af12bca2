"""The signature step: PyJWT's algorithm objects under our own parser.

Only asymmetric algorithms are in the table, so neither `none` nor a public key taken for an HMAC
secret has anywhere to go (RFC 8725 sections 3.1 and 3.2).
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

_ALGORITHMS: dict[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256, SECP256R1),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384, SECP384R1),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512, SECP521R1),
    "EdDSA": OKPAlgorithm(),
}

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EC_ALGORITHM_BY_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
EDWARDS_ALGORITHM = "EdDSA"


def canonical_algorithm(name: str) -> str:
    """Return the one name under which an algorithm is looked up here.

    `Ed25519` (RFC 9864 section 2.2) and `EdDSA` (RFC 8037 section 3.1) are one algorithm, because
    Ed25519 is the only curve of that family that is accepted.
    """
    return EDWARDS_ALGORITHM if name == "Ed25519" else name


def is_signature_valid(algorithm: str, public_key: Any, signing_input: bytes, signature: bytes) -> bool:
    """Verify one signature (RFC 7515 section 5.2).

    Args:
        algorithm: Canonical name; the caller has checked it against provider and key.
        public_key: A key object of `cryptography` of the kind that the algorithm needs.
        signing_input: ASCII bytes of header, dot and payload.
        signature: Raw bytes; R and S side by side for ECDSA (RFC 7518 section 3.4).
    """
    verifier = _ALGORITHMS.get(algorithm)
    return verifier is not None and verifier.verify(signing_input, public_key, signature)
