"""Which tokens are asked about, and what an answer makes of them; one object a policy snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chassis.clock import Clock
from extauthz.introspection.asking import Asked, Introspector, IssuerAnswer
from extauthz.introspection.clients import CredentialFiles
from extauthz.model import Confirmation, Deny, Principal, Unavailable
from extauthz.payment import AMOUNT, CURRENCY
from extauthz.tokens import refusals
from extauthz.tokens.claims import is_called_dpop, numeric_date, read_verified
from extauthz.tokens.jose import decode_base64url
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.scopes import require_scopes
from policy.schema.introspection import AskIssuer
from policy.schema.providers import ProvidersFile

_ACCESS_TYPE: Final = "at+jwt"
"""The endpoint answers about access tokens alone, so its word stands for the header type of RFC 9068."""
_NOT_CLAIMS: Final = frozenset({"active", "jwt"})
_KINDS: Final = ("token_type", "typ", "token_use")
_ACCESS_KINDS: Final = frozenset({"bearer", "dpop", "access_token", "access", "at+jwt"})


@dataclass(frozen=True, slots=True)
class AskingRule:
    """When one operation needs the issuer's word of now.

    Attributes:
        amount_minor: Payments above it; None: every request.
        currency: Of that amount.
        scopes: Of the operation; where the issuer says which scopes are left, these must be among them.
    """

    amount_minor: int | None
    currency: str | None
    scopes: tuple[str, ...] = ()

    @classmethod
    def compile(cls, policy: AskIssuer | None, scopes: tuple[str, ...] = ()) -> AskingRule | None:
        """Compile the part of an operation, if it has one."""
        if policy is None:
            return None
        return cls(None, None, scopes) if policy.when == "always" else cls(policy.amount, policy.currency, scopes)

    def applies(self, payment: Mapping[str, Any]) -> bool:
        """Tell whether this payment needs it: whatever is not plainly below the amount does."""
        amount = payment.get(AMOUNT)
        if self.amount_minor is None or type(amount) is not int or payment.get(CURRENCY) != self.currency:
            return True
        return amount > self.amount_minor


class IntrospectionRules:
    """Knows whom to ask.

    Args:
        introspector: The process-wide one.
        asked: By exact issuer, those that can be asked.
        opaque: Prefix and issuer of opaque tokens, the longest prefix first; an empty prefix takes all.
        clock: Wall time for token times.
    """

    def __init__(
        self,
        introspector: Introspector,
        asked: Mapping[str, Asked],
        opaque: Sequence[tuple[str, str]],
        clock: Clock,
    ) -> None:
        self._introspector = introspector
        self._asked = asked
        self._opaque = opaque
        self._clock = clock

    def issuer_of_opaque(self, token: str) -> Asked | None:
        """Return whom to ask about a token that is no JWT; None where nobody issues such."""
        for prefix, issuer in self._opaque:
            if token.startswith(prefix) and (prefix or not _looks_like_jwt(token)):
                return self._asked[issuer]
        return None

    async def read_opaque(self, asked: Asked, token: str, deadline: float) -> Principal | Deny | Unavailable:
        """Return the caller whose opaque token it is."""
        answer = await self._introspector.ask(asked, token, deadline)
        return answer if isinstance(answer, Unavailable) else self._principal(answer)

    async def confirm(
        self, principal: Principal, token: str, scopes: tuple[str, ...], deadline: float
    ) -> Deny | Unavailable | None:
        """Return why a token that is good by itself is not good by its issuer's word of now; None when it is."""
        asked = self._asked.get(principal.token_issuer)
        if asked is None:
            return refusals.invalid("its issuer cannot be asked")
        answer = await self._introspector.ask(asked, token, deadline, is_fresh=True)
        if isinstance(answer, Unavailable):
            return answer
        if not answer.members["active"]:
            return refusals.invalid("the issuer calls it inactive")
        if not _is_about(answer.members, principal, asked):
            return refusals.invalid("the issuer names another")
        if self._is_over(answer.members, asked.provider):
            return refusals.invalid("the issuer calls it active and over")
        return _not_left(answer.members, principal, asked.provider, scopes)

    def _is_over(self, members: Mapping[str, Any], provider: CompiledProvider) -> bool:
        if "exp" not in members:
            return False
        ends_at = numeric_date(members["exp"])
        return ends_at is None or self._clock.wall() >= ends_at + provider.leeway_seconds

    def _principal(self, answer: IssuerAnswer) -> Principal | Deny:
        members, provider = answer.members, answer.asked.provider
        if not members["active"]:
            return refusals.invalid("the issuer calls it inactive")
        if not _is_access(members):
            return refusals.invalid("the issuer calls it another kind of token")
        now = self._clock.wall()
        verified = read_verified(_claims(members, provider, now), _ACCESS_TYPE, provider, now)
        return verified if isinstance(verified, Deny) else verified.principal


def _looks_like_jwt(token: str) -> bool:
    """Tell whether a token claims to be a JWT, sound or not: such a one is judged as one and shown to no issuer."""
    header = decode_base64url(token.partition(".")[0])
    return header is not None and header.lstrip().startswith(b"{")


def _claims(members: Mapping[str, Any], provider: CompiledProvider, now: float) -> dict[str, Any]:
    """Return the members as claims; what RFC 7662 leaves out gets the narrowest reading.

    Without `exp` the token is good for as long as the answer is kept, and without `iat` it is as old as any token may
    be, so that no "all tokens up to then" misses it. Audience, subject and client must be there: an issuer may answer
    `active` about a token for somebody else.
    """
    claims = {name: value for name, value in members.items() if name not in _NOT_CLAIMS}
    claims.setdefault("iss", provider.issuer)
    claims.setdefault("exp", math.floor(now) + 1)
    expires_at = numeric_date(claims["exp"])
    if expires_at is not None:
        claims.setdefault("iat", math.floor(max(0.0, expires_at - provider.max_lifetime_seconds)))
    # Revocation by identifier needs the issuer's own; this one names no token of anybody.
    claims.setdefault("jti", "not told by introspection")
    return claims


def _is_access(members: Mapping[str, Any]) -> bool:
    """Tell whether the reply, as far as it says, is about an access token: some answer about refresh tokens too."""
    said = [members[name] for name in _KINDS if name in members]
    return all(isinstance(kind, str) and kind.casefold() in _ACCESS_KINDS for kind in said)


def _is_about(members: Mapping[str, Any], principal: Principal, asked: Asked) -> bool:
    """Tell whether the reply, as far as it says, is about this token."""
    said = {
        "iss": principal.token_issuer,
        "sub": principal.subject,
        asked.provider.client_id_claim: principal.client_id,
        "jti": principal.claims.get("jti"),
    }
    is_same = all(members[name] == value for name, value in said.items() if name in members)
    return is_same and _is_for_us(members, asked.provider) and _is_bound_alike(members, principal)


def _is_for_us(members: Mapping[str, Any], provider: CompiledProvider) -> bool:
    audience = members.get("aud", list(provider.audiences))
    names = [audience] if isinstance(audience, str) else audience
    return isinstance(names, list) and any(isinstance(name, str) and name in provider.audiences for name in names)


def _is_bound_alike(members: Mapping[str, Any], principal: Principal) -> bool:
    """Compare the binding that the issuer tells with the one that was proven."""
    proven = principal.confirmation or Confirmation()
    if is_called_dpop(members) and proven.jkt is None:
        return False
    told = members.get("cnf")
    if "cnf" not in members:
        return True
    return isinstance(told, Mapping) and (told.get("jkt"), told.get("x5t#S256")) == (proven.jkt, proven.certificate)


def _not_left(
    members: Mapping[str, Any], principal: Principal, provider: CompiledProvider, scopes: tuple[str, ...]
) -> Deny | None:
    """Refuse a token of which the issuer now says fewer scopes than the operation needs: consent was taken back."""
    if provider.shape.scope_claim not in members:
        return None
    left = provider.shape.scopes(members)
    if left is None:
        return refusals.invalid("the scopes that the issuer tells cannot be read")
    return require_scopes(replace(principal, scopes=left), scopes)


def compile_introspection(
    file: ProvidersFile,
    providers: Sequence[CompiledProvider],
    introspector: Introspector,
    credentials: CredentialFiles,
    clock: Clock,
) -> IntrospectionRules | None:
    """Compile who can be asked; None where nobody can.

    Raises:
        SecretInvalid: Credentials that a provider needs cannot be read.
    """
    by_id = {provider.id: provider for provider in providers}
    asked: dict[str, Asked] = {}
    opaque: list[tuple[str, str]] = []
    for provider in file.providers:
        policy = provider.introspection
        if policy is None:
            continue
        asked[provider.issuer] = Asked(
            by_id[provider.id],
            credentials.client(provider.id, provider.issuer, policy),
            policy.reply == "jwt",
            policy.timeout_ms / 1000,
            policy.cache_seconds,
        )
        if policy.opaque_tokens:
            opaque.append((policy.token_prefix or "", provider.issuer))
    opaque.sort(key=lambda pair: -len(pair[0]))
    return IntrospectionRules(introspector, asked, opaque, clock) if asked else None


@dataclass(frozen=True, slots=True)
class IssuerAsking:
    """What the operator gives for asking token issuers; compiled anew with every policy set."""

    introspector: Introspector
    credentials: CredentialFiles

    @property
    def is_possible(self) -> bool:
        """Whether there are credentials at all."""
        return bool(self.credentials.directory)

    def compile(
        self, file: ProvidersFile, providers: Sequence[CompiledProvider], clock: Clock
    ) -> IntrospectionRules | None:
        """Compile who can be asked; raises SecretInvalid as `compile_introspection`."""
        return compile_introspection(file, providers, self.introspector, self.credentials, clock)
