"""Message signatures: what providers.yaml and routes.yaml say about them together."""

from __future__ import annotations

from typing import Final

from policy.checks.common import check_known, check_unique
from policy.diagnostics import quote
from policy.names import PROVIDERS_FILE, ROUTES_FILE
from policy.parts import Parts
from policy.schema.providers import ProvidersFile
from policy.schema.routes import Operation, RoutesFile
from policy.schema.signatures import DEFAULT_COMPONENTS, MessageSignature

_DIGEST: Final = "content-digest"


def check_signatures(parts: Parts) -> None:
    """Add every problem of message signatures."""
    providers, routes = parts.find(ProvidersFile), parts.find_sound(RoutesFile)
    if providers is not None:
        _check_signers(parts, providers)
    if routes is None:
        return
    for index, operation in enumerate(routes.operations):
        if operation.message_signature is None:
            continue
        path = ("operations", index, "message_signature")
        _check_demand(parts, path, operation, operation.message_signature)
        if providers is not None and not providers.signers:
            parts.add_at_key(ROUTES_FILE, path, "P102", f"{PROVIDERS_FILE} has no signers, so nobody could sign")


def _check_signers(parts: Parts, file: ProvidersFile) -> None:
    check_unique(parts, PROVIDERS_FILE, ("signers",), ("keyid", [signer.keyid for signer in file.signers]))
    issuers = {provider.issuer for provider in file.providers}
    for index, signer in enumerate(file.signers):
        path = ("signers", index)
        check_known(parts, PROVIDERS_FILE, (*path, "issuer"), ("token issuer", signer.issuer, issuers))
        if signer.algorithm == "rsa-v1_5-sha256":
            message = "PKCS #1 v1.5 padding is outdated; prefer ed25519, ecdsa-p256-sha256 or rsa-pss-sha512"
            parts.add(PROVIDERS_FILE, (*path, "algorithm"), "P105", message, "warning")


def _check_demand(parts: Parts, path: tuple[str | int, ...], operation: Operation, demanded: MessageSignature) -> None:
    check_unique(parts, ROUTES_FILE, (*path, "components"), ("", demanded.components))
    keyed = operation.idempotency
    # Under another key a payment that is sent again is another payment.
    named = () if keyed is None or keyed.mode == "optional" else (keyed.header,)
    missing = [name for name in (*DEFAULT_COMPONENTS, *named) if name not in demanded.components]
    if operation.moves_money and missing:
        message = f"{quote(operation.operation)} moves money, and {', '.join(missing)} may go unsigned"
        parts.add(ROUTES_FILE, (*path, "components"), "P100", message)
    if _DIGEST in demanded.components and operation.profile is None and not operation.moves_money:
        message = f"{_DIGEST} covers a body, and without a profile none is read"
        parts.add(ROUTES_FILE, (*path, "components"), "P101", message)
    if demanded.label is not None and demanded.tag is not None:
        parts.add(ROUTES_FILE, (*path, "label"), "P103", "label and tag both choose; a tag is covered, so keep that")
