"""Step 3, authenticate: called by the pipeline once a request, one gate a policy snapshot.

The law: no claim is believed before its signature is verified with a key of the configured issuer; by us, or by
Envoy where that issuer's provider says so, and never by the one in the other's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from chassis.clock import Clock
from extauthz.introspection.rules import IntrospectionRules
from extauthz.model import AuthzRequest, Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.signatures.check import SignatureCheck
from extauthz.tokens import refusals
from extauthz.tokens.cache import CachedClaims, ClaimsCache
from extauthz.tokens.claims import read_verified, recheck
from extauthz.tokens.constraint import PresentedToken, SenderConstraint
from extauthz.tokens.envoy_claims import vouched_claims
from extauthz.tokens.jose import CompactToken, parse_compact
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.presentation import presented_token
from extauthz.tokens.providers import CompiledProvider, offered_algorithms
from extauthz.tokens.revocation_feed import RevocationRules
from extauthz.tokens.verify import canonical_algorithm, is_signature_valid

DEFAULT_FAILURES_PER_MINUTE = 300
_ENVOY_GENERATION = -1
"""Stands for keys that Envoy holds; no key set of ours has this generation."""
Outcome = Principal | Deny | Unavailable

# Asking for a nonce is how DPoP begins, and a hold-up must not hold itself up.
_NO_FAILURES = frozenset({Reason.DPOP_NONCE, Reason.AUTHENTICATION_FAILURES})


class TokenGate:
    """Checks access tokens under one policy snapshot.

    Args:
        providers: Token issuers of the snapshot, each `iss` once.
        keys: The process-wide key sets; `keys.follow(gate.providers)` makes them refresh these issuers' keys.
        cache: The process-wide cache of verified claims.
        clock: Wall time for token times, monotonic time for deadlines.
        constraint: Confirms bindings; left out, every token that is bound to a DPoP key is refused or 503.

    Attributes:
        failures_per_minute: Refused tokens of one address before it is held up; counts outlive a reload.
        revocation: Which good tokens are refused all the same; None: none.
        introspection: Whose tokens can be asked about, and whose are no JWT; None: nobody's.
        reads_envoy_claims: Envoy verifies some issuer's tokens, so requests must carry what it says of them.
    """

    def __init__(
        self,
        providers: tuple[CompiledProvider, ...],
        keys: KeySets,
        cache: ClaimsCache,
        clock: Clock,
        constraint: SenderConstraint | None = None,
    ) -> None:
        self.providers = providers
        self._by_issuer = {provider.issuer: provider for provider in providers}
        self._keys = keys
        self._cache = cache
        self._clock = clock
        self._constraint = constraint or SenderConstraint(clock)
        self.dpop_algorithms = offered_algorithms(providers)
        self.reads_envoy_claims = any(provider.payload_key is not None for provider in providers)
        self.failures_per_minute = DEFAULT_FAILURES_PER_MINUTE
        self.revocation: RevocationRules | None = None
        self.introspection: IntrospectionRules | None = None

    async def authenticate(
        self, request: AuthzRequest, deadline: float, *, moves_money: bool = True
    ) -> Principal | Deny | Unavailable:
        """Return the caller whose access token the request carries.

        Args:
            request: The request; only headers and the places where no token may stand are read.
            deadline: On `Clock.monotonic()`; a fetch of keys is not waited for beyond it.
            moves_money: Of the operation: it waits where nobody can tell which tokens were revoked.
        """
        token = presented_token(request, takes_dpop=bool(self.dpop_algorithms))
        if isinstance(token, Deny):
            return token
        digest = sha256(token.encode("ascii")).digest()
        principal = await self._read(token, digest, request, deadline)
        if not isinstance(principal, Principal):
            return principal
        if self.revocation is not None:
            principal = self.revocation.confirm(principal, moves_money=moves_money)
            if not isinstance(principal, Principal):
                return principal
        if principal.confirmation is None and not self.dpop_algorithms:
            return principal
        presented = PresentedToken(digest, self._by_issuer[principal.token_issuer].dpop)
        held_up = self._hold_up(request.peer_ip) if principal.confirmation is not None else None
        if held_up is not None:
            return held_up
        confirmed = await self._constraint.confirm(request, principal, presented, deadline)
        return self._counted(confirmed, request.peer_ip)

    async def confirm_active(
        self, request: AuthzRequest, principal: Principal, scopes: tuple[str, ...], deadline: float
    ) -> Deny | Unavailable | None:
        """Return why the issuer's word of now refuses this token, or that there is none; None when it is good.

        Args:
            request: Presents the token.
            principal: Of this token, good by itself.
            scopes: Of the operation.
            deadline: On `Clock.monotonic()`.
        """
        token = presented_token(request, takes_dpop=bool(self.dpop_algorithms))
        if isinstance(token, Deny):
            return token
        if self.introspection is None:
            return refusals.invalid("its issuer cannot be asked")
        return await self.introspection.confirm(principal, token, scopes, deadline)

    async def confirm_signed(
        self, signature: SignatureCheck, request: AuthzRequest, principal: Principal, deadline: float
    ) -> Principal | Deny | Unavailable:
        """Return the caller once it has signed the request as `signature` demands; failures count like bad tokens."""
        held_up = self._hold_up(request.peer_ip)
        if held_up is not None:
            return held_up
        refusal = await signature.refusal(request, principal, deadline)
        return principal if refusal is None else self._counted(refusal, request.peer_ip)

    def _hold_up(self, address: str) -> Deny | None:
        """Refuse what would cost a signature check, once an address has failed too often."""
        wait = self._cache.failures.wait_seconds(address, self.failures_per_minute, self._clock.monotonic())
        return refusals.too_many(wait) if wait else None

    def _counted(self, outcome: Outcome, address: str) -> Outcome:
        if isinstance(outcome, Deny) and outcome.reason not in _NO_FAILURES:
            self._cache.failures.record(address, self.failures_per_minute, self._clock.monotonic())
        return outcome

    async def _read(self, token: str, digest: bytes, request: AuthzRequest, deadline: float) -> Outcome:
        address = request.peer_ip
        entry = self._cache.get(digest)
        if entry is not None:
            provider = self._by_issuer.get(entry.provider.issuer)
            if provider is not None and entry.belongs_to(provider, self._generation(entry, request)):
                return self._reuse(digest, entry, provider)
        # Before any parsing: a flood of tokens is not even split into parts.
        held_up = self._hold_up(address)
        if held_up is not None:
            return held_up
        opaque = None if self.introspection is None else self.introspection.issuer_of_opaque(token)
        if self.introspection is not None and opaque is not None:
            return self._counted(await self.introspection.read_opaque(opaque, token, deadline), address)
        return self._counted(await self._verify(token, digest, request, deadline), address)

    def _generation(self, entry: CachedClaims, request: AuthzRequest) -> int | None:
        """Return the generation of keys that the token would be verified with now; None: it must be read anew."""
        key = entry.provider.payload_key
        if key is None:
            return self._keys.generation(entry.provider)
        # The same token as before, and Envoy verified it this time too.
        verified = vouched_claims(request, key, entry.token.principal.claims)
        return None if isinstance(verified, Deny) else _ENVOY_GENERATION

    def _reuse(self, digest: bytes, entry: CachedClaims, provider: CompiledProvider) -> Principal | Deny:
        refusal = recheck(entry.token, provider, self._clock.wall())
        if refusal is None:
            return entry.token.principal
        self._cache.discard(digest)
        return refusal

    async def _verify(self, token: str, digest: bytes, request: AuthzRequest, deadline: float) -> Outcome:
        parsed = parse_compact(token)
        if isinstance(parsed, Deny):
            return parsed
        provider = self._select(parsed)
        if isinstance(provider, Deny):
            return provider
        proven = await self._proven(parsed, provider, request, deadline)
        if isinstance(proven, Deny | Unavailable):
            return proven
        claims, generation = proven
        verified = read_verified(claims, parsed.token_type, provider, self._clock.wall())
        if isinstance(verified, Deny):
            return verified
        self._cache.put(digest, verified, provider=provider, generation=generation, characters=len(token))
        return verified.principal

    async def _proven(
        self, parsed: CompactToken, provider: CompiledProvider, request: AuthzRequest, deadline: float
    ) -> tuple[Mapping[str, Any], int] | Deny | Unavailable:
        """Return claims that are the issuer's own, and the generation of the keys that show it."""
        if provider.payload_key is not None:
            claims = vouched_claims(request, provider.payload_key, parsed.claims)
            return claims if isinstance(claims, Deny) else (claims, _ENVOY_GENERATION)
        algorithm = canonical_algorithm(parsed.algorithm)
        found = await self._keys.find(provider, parsed.kid, algorithm, deadline)
        if isinstance(found, Deny | Unavailable):
            return found
        if not is_signature_valid(algorithm, found.key.public_key, parsed.signing_input, parsed.signature):
            return refusals.invalid("signature does not verify")
        return parsed.claims, found.generation

    def _select(self, parsed: CompactToken) -> CompiledProvider | Deny:
        """Find the provider by exact `iss`, and check what needs no key (RFC 9068 section 4)."""
        issuer = parsed.claims.get("iss")
        provider = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            return refusals.invalid("iss is not configured")
        if parsed.token_type not in provider.token_types:
            return refusals.invalid("typ not accepted")
        if canonical_algorithm(parsed.algorithm) not in provider.algorithms:
            return refusals.invalid("alg not accepted")
        return provider
