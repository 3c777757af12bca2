"""The keys that requests are signed with, by keyid; compiled from providers.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from extauthz.tokens.keys import VerificationKey, read_key
from extauthz.tokens.verify import EDWARDS_ALGORITHM
from policy.diagnostics import Problem
from policy.loader import PolicySet
from policy.names import PROVIDERS_FILE
from policy.schema import signatures as schema

_JOSE_NAMES: Final = {
    "ecdsa-p256-sha256": "ES256",
    "ed25519": EDWARDS_ALGORITHM,
    "rsa-pss-sha512": "PS512",
    "rsa-v1_5-sha256": "RS256",
}
"""RFC 9421 section 3.3 defines each as the same computation: ECDSA with R and S side by side, PSS with a salt of 64."""


@dataclass(frozen=True, slots=True)
class Signer:
    """One key and its owner.

    Attributes:
        issuer: `iss` of the owner's tokens.
        client_id: The owner, as its tokens name it.
        algorithm: As in the signature's `alg` (RFC 9421 section 6.2.2).
        jose_algorithm: The same, as `verify` knows it.
        public_key: Key object of `cryptography`.
    """

    issuer: str
    client_id: str
    algorithm: str
    jose_algorithm: str
    public_key: Any


def compile_signers(policy: PolicySet) -> Mapping[str, Signer]:
    """Return the signers by keyid; one that `signer_problems` names is left out."""
    compiled = {}
    for signer in policy.providers.signers:
        key = _read(signer)
        if isinstance(key, VerificationKey):
            name = _JOSE_NAMES[signer.algorithm]
            compiled[signer.keyid] = Signer(signer.issuer, signer.client_id, signer.algorithm, name, key.public_key)
    return MappingProxyType(compiled)


def signer_problems(policy: PolicySet) -> tuple[Problem, ...]:
    """Return every key that cannot be used."""
    return tuple(
        policy.problem(PROVIDERS_FILE, ("signers", index, "key"), "P104", fault)
        for index, signer in enumerate(policy.providers.signers)
        if isinstance(fault := _read(signer), str)
    )


def _read(signer: schema.Signer) -> VerificationKey | str:
    """Read the key under the rules for keys of token issuers: size, curve, known weaknesses."""
    return read_key({**signer.key.model_dump(exclude_none=True), "alg": _JOSE_NAMES[signer.algorithm]})
