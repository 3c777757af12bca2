"""Which tokens are asked about, and what an answer makes of them; one object a policy snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chassis.clock import Clock
from extauthz.introspection.asking import Asked, Introspector, IssuerAnswer
from extauthz.introspection.clients import CredentialFiles
from extauthz.model import Deny, Principal, Unavailable
from extauthz.payment import AMOUNT, CURRENCY
from extauthz.tokens import refusals
from extauthz.tokens.claims import numeric_date, read_verified
from extauthz.tokens.jose import decode_base64url
from extauthz.tokens.providers import CompiledProvider
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
    """

    amount_minor: int | None
    currency: str | None

    @classmethod
    def compile(cls, policy: AskIssuer | None) -> AskingRule | None:
        """Compile the part of an operation, if it has one."""
        if policy is None:
            return None
        return cls(None, None) if policy.when == "always" else cls(policy.amount, policy.currency)

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

    async def confirm(self, principal: Principal, token: str, deadline: float) -> Deny | Unavailable | None:
        """Return why a token that is good by itself is not good by its issuer's word of now; None when it is."""
        asked = self._asked.get(principal.token_issuer)
        if asked is None:
            return refusals.invalid("its issuer cannot be asked")
        answer = await self._introspector.ask(asked, token, deadline, is_fresh=True)
        if isinstance(answer, Unavailable):
            return answer
        if not answer.members["active"]:
            return refusals.invalid("the issuer calls it inactive")
        return None if _is_about(answer.members, principal, asked) else refusals.invalid("the issuer names another")

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
    return all(members[name] == value for name, value in said.items() if name in members)


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
