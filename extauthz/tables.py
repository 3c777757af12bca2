"""The compiled policy of this service: one frozen snapshot, read by every request."""

from __future__ import annotations

from dataclasses import dataclass

from extauthz.events.reader import EventReader
from extauthz.idempotency import IdempotencyRule
from extauthz.introspection.rules import AskingRule
from extauthz.payment import BodyReader
from extauthz.risk import RuleSet
from extauthz.routes import RouteTable
from extauthz.signatures.check import SignatureCheck
from extauthz.subjects import Subjects
from extauthz.tokens.demands import TokenDemands
from extauthz.tokens.details import PaymentGrant
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.merchant_claims import MerchantClaims
from policy.card_keys import CardKeyring
from policy.merchants import MerchantTable


@dataclass(frozen=True, slots=True)
class OperationPolicy:
    """What one operation demands, ready to be applied.

    Attributes:
        operation: Name from routes.yaml.
        demands: What a token must say before the body is read.
        merchant: Where the token names its merchant.
        sender_constraint: What the token must be bound to: `none`, `any`, `certificate` or `dpop`.
        moves_money: Amount, currency and merchant must be in the body.
        body: Reads the payment; None where the operation reads no body.
        rules: Risk rules of this operation.
        subjects: What its quotas count by besides merchant and card.
        forward_token: Leave `authorization` on for the upstream.
        grant: What the token must say of the payment; None where scopes are enough.
        refuses_cookies: No cookie may come beside the token.
        signature: What the client must sign; None where it need not.
        asking: When the issuer is asked whether the token is still good; None: never.
        idempotency: What is asked of an idempotency key; None: nothing.
    """

    operation: str
    demands: TokenDemands
    merchant: MerchantClaims
    sender_constraint: str
    moves_money: bool
    body: BodyReader | None
    rules: RuleSet
    subjects: Subjects
    forward_token: bool
    grant: PaymentGrant | None = None
    refuses_cookies: bool = False
    signature: SignatureCheck | None = None
    asking: AskingRule | None = None
    idempotency: IdempotencyRule | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one request is judged by.

    Attributes:
        revision: Content hash of the policy set.
        routes: Operations by host, method and path.
        gate: Checks access tokens.
        merchants: Merchants by id.
        keyring: The keys that card numbers are hashed with; None where the operator gave none.
        dpop_algorithms: Of DPoP proofs that are taken, separated by blanks; empty where none are.
        resource_metadata: Where clients find the metadata of this API (RFC 9728); empty where there is none.
        are_requests_signed: Some operation demands signatures, each of which is remembered.
        events: Reads events of token issuers; None where none are taken.
    """

    revision: str
    routes: RouteTable[OperationPolicy]
    gate: TokenGate
    merchants: MerchantTable
    keyring: CardKeyring | None = None
    dpop_algorithms: str = ""
    resource_metadata: str = ""
    are_requests_signed: bool = False
    events: EventReader | None = None
