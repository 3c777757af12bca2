"""Whether the caller holds what the token is bound to: a certificate (RFC 8705), a DPoP key (RFC 9449), or both.

Called by the gate once a token is good. Its law: a bound token without its proof is refused on every route
(RFC 9449 section 7.2), whatever the route demands.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable
from extauthz.challenges import DPOP_SCHEME, scheme_of
from extauthz.model import AuthzRequest, Confirmation, Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens import refusals
from extauthz.tokens.certificates import CertificateSource
from extauthz.tokens.dpop import Proof, check_proof
from extauthz.tokens.nonces import DpopNonces, NonceAge
from extauthz.tokens.providers import DpopPolicy
from extauthz.tokens.replay import ReplayStore, proof_mark, request_identity

CLOCK_SPREAD_SECONDS: Final = 30.0
"""How much longer than its window a proof is remembered: the clocks of two replicas differ."""


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """How a token came.

    Attributes:
        digest: SHA-256 of its text.
        dpop: What its issuer's proofs must meet; None where they are not taken.
    """

    digest: bytes
    dpop: DpopPolicy | None


@dataclass(frozen=True, slots=True)
class SenderConstraint:
    """Confirms bindings.

    Attributes:
        clock: Wall time for proofs.
        certificates: Where the client's certificate is known from.
        replays: Remembers used proofs; None where no policy needs it.
        nonces: Makes and knows nonces; None where no policy needs them.
    """

    clock: Clock
    certificates: CertificateSource = field(default_factory=CertificateSource)
    replays: ReplayStore | None = None
    nonces: DpopNonces | None = None

    async def confirm(
        self, request: AuthzRequest, principal: Principal, token: PresentedToken, deadline: float
    ) -> Principal | Deny | Unavailable:
        """Return the caller once it has proven to hold what its token is bound to.

        Args:
            request: Carries certificate and proof.
            principal: Of a good token, its audience and times checked.
            token: How it came.
            deadline: On `Clock.monotonic()`.
        """
        is_dpop = scheme_of(request.headers.get("authorization", "")) == DPOP_SCHEME
        confirmation = principal.confirmation
        if confirmation is None:
            return refusals.unbound("scheme DPoP, and the token is bound to no key") if is_dpop else principal
        if confirmation.certificate is not None:
            shown = self.certificates.thumbprint(request)
            if shown is None or not hmac.compare_digest(shown, confirmation.certificate):
                return refusals.unbound("not the certificate that the token is bound to")
        if confirmation.jkt is None:
            return refusals.unbound("scheme DPoP, and the token is bound to no key") if is_dpop else principal
        if not is_dpop:
            return refusals.unbound("bound to a DPoP key and presented as a bearer token")
        if token.dpop is None:
            return refusals.unbound("proofs are not taken with tokens of this issuer")
        proof = check_proof(request, token.digest, token.dpop, self.clock.wall())
        if isinstance(proof, Deny):
            return proof
        if not hmac.compare_digest(proof.jkt, confirmation.jkt):
            return refusals.unbound("the proof's key is not the one that the token is bound to")
        return await self._use(request, principal, proof, token.dpop, deadline)

    async def _use(
        self, request: AuthzRequest, principal: Principal, proof: Proof, policy: DpopPolicy, deadline: float
    ) -> Principal | Deny | Unavailable:
        """Check the nonce, then mark the proof as used: last, so that nothing refused uses it up."""
        next_nonce = ""
        if policy.needs_nonce:
            if self.nonces is None:
                return Unavailable(Reason.INTERNAL, "nonces are required and there is no key")
            now = self.clock.wall()
            age = self.nonces.age(proof.nonce, now)
            if age is NonceAge.UNKNOWN:
                return refusals.needs_nonce(self.nonces.issue(now))
            next_nonce = self.nonces.issue(now) if age is NonceAge.LAPSING else ""
        if policy.is_replay_checked:
            refusal = await self._mark(request, proof, policy, deadline)
            if refusal is not None:
                return refusal
        return replace(principal, next_nonce=next_nonce) if next_nonce else principal

    async def _mark(
        self, request: AuthzRequest, proof: Proof, policy: DpopPolicy, deadline: float
    ) -> Deny | Unavailable | None:
        if self.replays is None:
            return Unavailable(Reason.REPLAY_STORE_UNAVAILABLE, "no store for used proofs")
        lifetime = policy.past_seconds + policy.future_seconds + CLOCK_SPREAD_SECONDS
        try:
            is_ours = await self.replays.use(
                proof_mark(proof.jkt, proof.jti), request_identity(request), lifetime, deadline
            )
        except StoreUnavailable as error:
            return Unavailable(Reason.REPLAY_STORE_UNAVAILABLE, error.reason)
        return None if is_ours else refusals.invalid_proof("the proof was used before")


def unmet_constraint(demand: str, principal: Principal) -> Deny | None:
    """Refuse a token that is not bound to what a route demands (FAPI 2.0 Security Profile section 5.3.4).

    Args:
        demand: `none`, `any`, `certificate` or `dpop`.
        principal: From the gate, so what its token is bound to was confirmed.
    """
    if demand == "none":
        return None
    confirmation = principal.confirmation or Confirmation()
    is_met = {
        "any": principal.confirmation is not None,
        "certificate": confirmation.certificate is not None,
        "dpop": confirmation.jkt is not None,
    }[demand]
    return None if is_met else refusals.unbound("this operation takes tokens with another binding only")
