"""routes.yaml: which requests are operations, and what each one demands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import AcrValue, Boolean, ClaimPointer, FileModel, Identifier, Integer, Scope, Text
from policy.schema.idempotency import Idempotency
from policy.schema.introspection import AskIssuer
from policy.schema.providers import HttpUrl
from policy.schema.signatures import MessageSignature

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-\[\]:]{1,253}$")]
PathTemplate = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_.~{}/\-]*$", max_length=500)]


class MerchantBinding(FileModel):
    """Where the token names its merchant; the body's merchant.id must be the same one."""

    claim: ClaimPointer
    other_claims: tuple[ClaimPointer, ...] = Field(
        (), max_length=10, description="Where other token issuers name it; of all claims, those present must agree."
    )
    several: Literal["refuse", "body_picks"] = Field(
        "refuse",
        description="A claim that lists merchants. body_picks: the body's merchant.id must be one of them.",
    )


class StepUp(FileModel):
    """How strongly and how recently the user must have authenticated (RFC 9470)."""

    acr_values: tuple[AcrValue, ...] = Field((), max_length=20, description="One of them must be the token's `acr`.")
    max_age_seconds: Annotated[Integer, Field(ge=1, le=31_536_000)] | None = Field(
        None, description="Most seconds since `auth_time`."
    )


class Actor(FileModel):
    """One party that may use tokens of others."""

    sub: Text = Field(description="`act.sub`, exactly.")
    issuer: HttpUrl | None = Field(None, description="`act.iss`; without it, the issuer of the token.")


class ActorPolicy(FileModel):
    """Who may act for the token's subject; only the outermost `act` counts (RFC 8693 section 4.1)."""

    allow: tuple[Actor, ...] = Field(min_length=1, max_length=100)
    required: Boolean = Field(False, description="Refuse tokens without an actor.")


class AuthorizationDetails(FileModel):
    """The consent to one payment that a token must carry (RFC 9396); it is compared with the body."""

    type: Text = Field(description="Other types grant nothing.")
    actions: tuple[Text, ...] = Field(min_length=1, max_length=20, description="All of them must be granted.")
    locations: tuple[Text, ...] = Field(
        (),
        max_length=20,
        description="One must be granted; without them, `locations` that are there must hold an audience.",
    )
    amount: ClaimPointer = Field(
        "/instructedAmount/amount", description="Decimal in whole units; must be exactly the body's amount."
    )
    currency: ClaimPointer = "/instructedAmount/currency"
    creditor: dict[str, ClaimPointer] = Field(
        min_length=1, max_length=10, description="Payment attribute to where the consent says the same, exactly."
    )


class ProtectedResource(FileModel):
    """What clients may learn about this API before they have a token (RFC 9728)."""

    identifier: HttpUrl = Field(description="The API's name for token issuers; one of the audiences.")
    name: Text | None = None
    documentation: HttpUrl | None = None


class OutcomePolicy(FileModel):
    """What the upstream's answers say of a payment that was let through."""

    declined: tuple[Annotated[Integer, Field(ge=400, le=599)], ...] = Field(
        min_length=1,
        max_length=20,
        description="HTTP statuses that it sends only when it has not taken the payment, now or later.",
    )


class Operation(FileModel):
    """One operation of the API."""

    operation: Identifier
    method: Method
    path: PathTemplate = Field(description="Segments in braces match one segment: /v1/payments/{id}.")
    hosts: tuple[HostName, ...] = Field((), max_length=100, description="Instead of the file's hosts.")
    scopes: tuple[Scope, ...] = Field(
        description="All of them are required; may be empty where authorization_details are."
    )
    merchant: MerchantBinding
    caller: Literal["any", "user"] = Field("any", description="user: a token of a client alone is refused.")
    step_up: StepUp | None = Field(None, description="How strongly the user must have authenticated.")
    actor: ActorPolicy | None = Field(None, description="Without it, a token with `act` is refused.")
    authorization_details: AuthorizationDetails | None = Field(None, description="Consent to exactly this payment.")
    sender_constraint: Literal["none", "any", "certificate", "dpop"] = Field(
        "none", description="What the token must be bound to; a bound token always needs its proof."
    )
    message_signature: MessageSignature | None = Field(
        None, description="The client must sign each request (RFC 9421); needs --store."
    )
    introspect: AskIssuer | None = Field(
        None, description="Which requests need the issuer's word of now that the token is still good."
    )
    moves_money: Boolean = Field(description="Needs an amount, a currency and a quota that covers it.")
    idempotency: Idempotency | None = Field(None, description="The key of a payment that may be sent again.")
    outcome: OutcomePolicy | None = Field(
        None, description="Without it no answer of the upstream gives back what `counts: authorized` has counted."
    )
    profile: Identifier | None = Field(None, description="Body profile; needed when money moves.")
    forward_token: Boolean = Field(False, description="Leave `authorization` on for the upstream.")
    cookies: Literal["ignore", "refuse"] = Field(
        "ignore", description="refuse: for machines alone; a cookie beside the token is a second credential."
    )


class RoutesFile(FileModel):
    """All operations; any other request is refused with route_unknown."""

    hosts: tuple[HostName, ...] = Field(min_length=1, max_length=100, description="Without port: any port.")
    resource: ProtectedResource | None = Field(
        None, description="Published as /.well-known/oauth-protected-resource, and named in challenges."
    )
    operations: tuple[Operation, ...] = Field(min_length=1, max_length=1000)
