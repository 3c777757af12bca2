"""What an operation demands of a verified token before the body is read (step 4, authorize).

Called by the pipeline once a request. Its law: a claim that is absent or has the wrong type meets no demand. Step-up
is asked for only of a token that was found good, or the challenge would tell strangers which operations are
guarded (RFC 9470 section 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chassis.clock import Clock
from extauthz.model import Challenge, Deny, Principal
from extauthz.reasons import Reason
from extauthz.tokens.claims import numeric_date
from extauthz.tokens.scopes import require_scopes
from policy.schema.routes import ActorPolicy, Operation
from policy.schema.routes import StepUp as StepUpPolicy

MAX_AHEAD_SECONDS: Final = 60
"""How far `auth_time` may lie ahead of our clock: clocks differ, and more than this is no time of the past."""


@dataclass(frozen=True, slots=True)
class StepUp:
    """How the user must have authenticated (RFC 9470).

    Attributes:
        acr_values: One of them must be `acr`; empty for any.
        max_age: Most seconds since `auth_time`; None for any.
    """

    acr_values: tuple[str, ...]
    max_age: int | None

    @classmethod
    def compile(cls, policy: StepUpPolicy | None) -> StepUp | None:
        """Compile the part of an operation, if it has one."""
        return None if policy is None else cls(policy.acr_values, policy.max_age_seconds)

    def is_met(self, claims: Mapping[str, Any], now: float) -> bool:
        """Tell whether the user authenticated strongly and recently enough; `now` in seconds since 1970."""
        if self.acr_values and claims.get("acr") not in self.acr_values:
            return False
        if self.max_age is None:
            return True
        authenticated_at = numeric_date(claims.get("auth_time"))
        return authenticated_at is not None and -MAX_AHEAD_SECONDS <= now - authenticated_at <= self.max_age

    def challenge(self, scope: str | None) -> Challenge:
        """Return the challenge (RFC 9470 section 3); `scope` when scopes are missing as well."""
        return Challenge(
            error="insufficient_user_authentication",
            description=Reason.STEP_UP_REQUIRED.spec.title,
            scope=scope,
            acr_values=" ".join(self.acr_values) or None,
            max_age=self.max_age,
        )


@dataclass(frozen=True, slots=True)
class Actors:
    """Who may act for the token's subject (RFC 8693 section 4.1).

    Attributes:
        allowed: Pairs of issuer and `sub`; None for the issuer of the token itself.
        is_required: A token without an actor is refused.
    """

    allowed: frozenset[tuple[str | None, str]] = frozenset()
    is_required: bool = False

    @classmethod
    def compile(cls, policy: ActorPolicy | None) -> Actors:
        """Compile the part of an operation; without one, nobody may act for another."""
        if policy is None:
            return cls()
        return cls(frozenset((actor.issuer, actor.sub) for actor in policy.allow), policy.required)

    def is_met(self, principal: Principal) -> bool:
        """Tell whether the outermost actor is allowed; actors before it have no say."""
        if "act" not in principal.claims:
            return not self.is_required
        act = principal.claims["act"]
        if not isinstance(act, Mapping):
            return False
        name, issuer = act.get("sub"), act.get("iss", principal.token_issuer)
        if not isinstance(name, str) or not isinstance(issuer, str):
            return False
        is_own = issuer == principal.token_issuer and (None, name) in self.allowed
        return is_own or (issuer, name) in self.allowed


@dataclass(frozen=True, slots=True)
class TokenDemands:
    """What one operation demands of every token.

    Attributes:
        scopes: All of them are required.
        needs_user: A token that was issued to a client alone is refused.
        step_up: How the user must have authenticated; None for any way.
        actors: Who may act for the token's subject.
        clock: Wall time for `auth_time`.
    """

    scopes: tuple[str, ...]
    needs_user: bool
    step_up: StepUp | None
    actors: Actors
    clock: Clock

    @classmethod
    def compile(cls, operation: Operation, clock: Clock) -> TokenDemands:
        """Compile the demands of one operation."""
        return cls(
            scopes=operation.scopes,
            needs_user=operation.caller == "user",
            step_up=StepUp.compile(operation.step_up),
            actors=Actors.compile(operation.actor),
            clock=clock,
        )

    def refusal(self, principal: Principal) -> Deny | None:
        """Return why this token may not do this operation, or None; step-up comes first, since it renews the token."""
        if self.needs_user and not _has_authenticated_user(principal):
            return _forbidden(Reason.USER_REQUIRED, "nothing says that a user authenticated")
        refusal = None if self.step_up is None else self.step_up_refusal(principal, self.step_up)
        if refusal is not None:
            return refusal
        if not self.actors.is_met(principal):
            return _forbidden(Reason.ACTOR_NOT_ALLOWED, "the outermost actor is not one that may act here")
        return require_scopes(principal, self.scopes)

    def step_up_refusal(self, principal: Principal, step_up: StepUp) -> Deny | None:
        """Return the challenge of a step-up that this token does not meet, or None.

        Args:
            principal: The caller.
            step_up: Of the operation, or of a risk rule that fired.
        """
        if step_up.is_met(principal.claims, self.clock.wall()):
            return None
        if not _may_have_user(principal):
            # A challenge that such a client cannot meet would send it round in circles.
            return _forbidden(Reason.USER_REQUIRED, "step-up of a token without user")
        is_short = not principal.scopes.issuperset(self.scopes)
        challenge = step_up.challenge(" ".join(self.scopes) if is_short else None)
        return Deny(Reason.STEP_UP_REQUIRED, challenge, "acr or auth_time is not enough")


def _has_authenticated_user(principal: Principal) -> bool:
    """Tell a user's token from a client's own: its subject is another (RFC 9068 section 5), and has authenticated.

    Not by `acr`, which some issuers write into every token.
    """
    authenticated_at = numeric_date(principal.claims.get("auth_time"))
    return principal.subject != principal.client_id and authenticated_at is not None and authenticated_at > 0


def _may_have_user(principal: Principal) -> bool:
    has_sign = "auth_time" in principal.claims or "acr" in principal.claims
    return principal.subject != principal.client_id and has_sign


def _forbidden(reason: Reason, detail: str) -> Deny:
    return Deny(reason, Challenge("insufficient_scope", reason.spec.title), detail)
