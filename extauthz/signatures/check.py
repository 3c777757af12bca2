"""Whether a request is signed by the client whose token it carries (RFC 9421 section 3.2), and only once.

Called by the gate for operations that demand it, after the token was found good. Its law: what must be covered is,
the key is the token's client's own, and the signature is used up last, so that nothing refused uses one up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import http_sf

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from extauthz.model import AuthzRequest, Challenge, Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.signatures.base import Fault, signature_base
from extauthz.signatures.digest import DIGEST_HEADER, WANTED, digest_fault
from extauthz.signatures.fields import SignedInput, read_signature
from extauthz.signatures.signers import Signer
from extauthz.tokens.constraint import CLOCK_SPREAD_SECONDS
from extauthz.tokens.replay import ReplayStore, request_identity
from extauthz.tokens.verify import is_signature_valid
from policy.schema.signatures import MAX_AGE_SECONDS, MessageSignature

FUTURE_SECONDS: Final = 10.0
"""How far ahead of ours a client's clock may be."""
_REMEMBERED_SECONDS: Final = MAX_AGE_SECONDS + FUTURE_SECONDS + CLOCK_SPREAD_SECONDS
"""By the longest age that policy may permit: the next policy set may take a signature for longer."""
MAX_NONCE_CHARACTERS: Final = 256
_TYPES: Final[Mapping[str, type]] = {
    "created": int,
    "expires": int,
    "nonce": str,
    "alg": str,
    "keyid": str,
    "tag": str,
}
"""Every parameter that is understood (RFC 9421 section 2.3), and what it must be."""
_REQUIRED: Final = ("created", "nonce", "keyid")


@dataclass(frozen=True, slots=True)
class SignatureMeans:
    """What every operation checks signatures with.

    Attributes:
        signers: By keyid.
        clock: Wall time for `created` and `expires`.
        replays: Remembers used signatures; None where no policy needs it, and then none passes.
    """

    signers: Mapping[str, Signer]
    clock: Clock
    replays: ReplayStore | None


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What one operation demands.

    Attributes:
        demanded: As in routes.yaml.
        means: Shared by all operations.
        hints: Headers that tell a refused client what to sign.
    """

    demanded: MessageSignature
    means: SignatureMeans
    hints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def compile(cls, demanded: MessageSignature | None, means: SignatureMeans) -> SignatureCheck | None:
        """Compile the part of an operation, if it has one."""
        return None if demanded is None else cls(demanded, means, _hints(demanded))

    async def refusal(self, request: AuthzRequest, principal: Principal, deadline: float) -> Deny | Unavailable | None:
        """Return why the request is not signed as it must be, or None.

        Args:
            request: The request with its body.
            principal: Of a good token; its client must be the signer.
            deadline: On `Clock.monotonic()`.
        """
        signed = read_signature(request.headers, label=self.demanded.label, tag=self.demanded.tag)
        if signed is None:
            return self._deny(Reason.SIGNATURE_MISSING, "no signature that counts")
        if isinstance(signed, Fault):
            return self._deny(Reason.SIGNATURE_INVALID, signed.detail)
        fault = self._input_fault(signed) or self._signature_fault(request, principal, signed)
        if fault is not None:
            return self._deny(Reason.SIGNATURE_INVALID, fault.detail)
        if DIGEST_HEADER in signed.components:
            if request.body_is_partial:
                return Deny(Reason.SIGNED_BODY_TOO_LARGE, detail="the end of the signed body was not seen")
            fault = digest_fault(request.headers[DIGEST_HEADER], request.body)
            if fault is not None:
                return Deny(Reason.CONTENT_DIGEST_MISMATCH, detail=fault.detail, headers=_WANT_DIGEST)
        return await self._use(request, signed.parameters, deadline)

    def _deny(self, reason: Reason, detail: str) -> Deny:
        # The token is good, so the challenge names no error (RFC 6750 section 3.1 has none for this).
        return Deny(reason, Challenge(), detail, headers=self.hints)

    def _input_fault(self, signed: SignedInput) -> Fault | None:
        """Check what the signature says of itself, before anything is computed."""
        if not set(self.demanded.components) <= set(signed.components):
            return Fault("a component that must be covered is not")
        given = signed.parameters
        # `is`: to Python, true is an int as well.
        if any(type(value) is not _TYPES.get(name) for name, value in given.items()):
            return Fault("a signature parameter that is not known here, or of another type")
        if not all(name in given for name in _REQUIRED):
            return Fault("created, nonce or keyid is missing")
        if not 0 < len(given["nonce"]) <= MAX_NONCE_CHARACTERS:
            return Fault("nonce is empty or too long")
        now = self.means.clock.wall()
        if not now - self.demanded.max_age_seconds <= given["created"] <= now + FUTURE_SECONDS:
            return Fault("created lies outside the window")
        return Fault("expires has passed") if given.get("expires", now + 1) <= now else None

    def _signature_fault(self, request: AuthzRequest, principal: Principal, signed: SignedInput) -> Fault | None:
        signer = self.means.signers.get(signed.parameters["keyid"])
        if signer is None:
            return Fault("keyid is not configured")
        if (signer.issuer, signer.client_id) != (principal.token_issuer, principal.client_id):
            return Fault("the key is another client's")
        if signed.parameters.get("alg", signer.algorithm) != signer.algorithm:
            return Fault("alg is not the key's")
        base = signature_base(request, signed.components, signed.parameters_line)
        if isinstance(base, Fault):
            return base
        is_valid = is_signature_valid(signer.jose_algorithm, signer.public_key, base, signed.signature)
        return None if is_valid else Fault("signature does not verify")

    async def _use(
        self, request: AuthzRequest, parameters: Mapping[str, Any], deadline: float
    ) -> Deny | Unavailable | None:
        """Mark the nonce as used, never the signature's bytes: ECDSA has two for one text."""
        if self.means.replays is None:
            return Unavailable(Reason.REPLAY_STORE_UNAVAILABLE, "no store for used signatures")
        mark = signature_mark(parameters["keyid"], parameters["nonce"])
        try:
            is_ours = await self.means.replays.use(mark, request_identity(request), _REMEMBERED_SECONDS, deadline)
        except StoreUnavailable as error:
            return Unavailable(Reason.REPLAY_STORE_UNAVAILABLE, error.reason)
        return None if is_ours else self._deny(Reason.SIGNATURE_INVALID, "the nonce was used before")


def signature_mark(keyid: str, nonce: str) -> str:
    """Return what a signature is known by; a line break stands in neither, and no mark of a DPoP proof begins so."""
    return hashlib.sha256(f"signature\n{keyid}\n{nonce}".encode("ascii")).hexdigest()


_WANT_DIGEST: Final = {"want-content-digest": WANTED}


def _hints(demanded: MessageSignature) -> dict[str, str]:
    """Return `Accept-Signature` (RFC 9421 section 5.1); a nonce cannot be asked for there without choosing it."""
    parameters: dict[str, Any] = {"created": True, "keyid": True}
    if demanded.tag is not None:
        parameters["tag"] = demanded.tag
    member: Any = (list(demanded.components), parameters)
    wanted = http_sf.ser({demanded.label or "sig1": member})
    return {"accept-signature": wanted, **(_WANT_DIGEST if DIGEST_HEADER in demanded.components else {})}
