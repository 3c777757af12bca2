"""The straight line: select, authenticate, authorize, assess. One verdict, one place that allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from chassis.clock import Clock
from extauthz.model import Allow, AuthzRequest, Challenge, Decision, Deny, Principal, Unavailable
from extauthz.paths import canonical_host
from extauthz.payment import AMOUNT, CURRENCY, MERCHANT, Payment
from extauthz.reasons import Reason
from extauthz.risk import NOTHING_FIRED, RiskOutcome
from extauthz.routes import select
from extauthz.tables import OperationPolicy, Tables
from extauthz.tokens.constraint import unmet_constraint
from extauthz.tokens.refusals import presentation
from policy.handoff import NONE, write_identity, write_keyed
from policy.merchants import MerchantEntry

_COOKIES: Final = ("cookie", "x-tollhouse-cookie")
"""The second is Envoy's word that the client sent one, since it keeps the cookie itself to itself."""


@dataclass(slots=True)
class Trail:
    """What is learnt on the way, for the decision record; decides nothing.

    Attributes:
        step: The step that was entered last, so the one that decided.
        operation: Name from routes.yaml, once selected.
        takes_bearer: False once an operation is selected that takes DPoP alone.
        principal: The caller, once authenticated.
        merchant_id: From the token, once authorized.
        payment: Attributes read from the body.
        card_keys: Keyed hashes of the card number, the current key's first.
        risk: Outcome of the rules.
    """

    step: str = "parse"
    operation: str = ""
    takes_bearer: bool = True
    principal: Principal | None = None
    merchant_id: str = ""
    payment: Mapping[str, Any] = field(default_factory=dict)
    card_keys: tuple[str, ...] = ()
    risk: RiskOutcome = NOTHING_FIRED


class _Authorized(NamedTuple):
    principal: Principal
    merchant: MerchantEntry
    payment: Mapping[str, Any]
    card_keys: tuple[str, ...] = ()


async def decide(tables: Tables, request: AuthzRequest, trail: Trail, deadline: float, clock: Clock) -> Decision:
    """Judge one request.

    Args:
        tables: The policy snapshot; the same one from first to last step.
        request: What Envoy sent.
        trail: Filled in for the record.
        deadline: On `clock.monotonic()`; no await outlives it and no allow, since Envoy has then answered without us.
        clock: Wall time for rules where Envoy sent none.
    """
    trail.step = "select"
    operation = select(tables.routes, request)
    if isinstance(operation, Deny):
        return operation
    trail.operation, trail.takes_bearer = operation.operation, operation.sender_constraint != "dpop"
    trail.step = "authenticate"
    principal = await _authenticate(tables, operation, request, deadline)
    if not isinstance(principal, Principal):
        return principal
    trail.principal = principal
    trail.step = "authorize"
    authorized = await _authorize_now(tables, operation, request, trail, deadline)
    if not isinstance(authorized, _Authorized):
        return authorized
    trail.step = "assess"
    refusal = _assess(operation, request, authorized, trail, clock)
    if refusal is not None:
        return refusal
    is_late = clock.monotonic() > deadline
    return Unavailable(Reason.DEADLINE_EXCEEDED) if is_late else _allow(operation, request, authorized, trail.risk)


async def _authenticate(
    tables: Tables, operation: OperationPolicy, request: AuthzRequest, deadline: float
) -> Principal | Deny | Unavailable:
    """Step 3: whose token it is, and where the operation demands it, that the same client signed the request."""
    principal = await tables.gate.authenticate(request, deadline, moves_money=operation.moves_money)
    if operation.signature is None or not isinstance(principal, Principal):
        return principal
    return await tables.gate.confirm_signed(operation.signature, request, principal, deadline)


async def _authorize_now(
    tables: Tables, operation: OperationPolicy, request: AuthzRequest, trail: Trail, deadline: float
) -> _Authorized | Deny | Unavailable:
    """Step 4: what the token says is enough, and where the operation demands it, its issuer's word of now is too."""
    if trail.principal is None:
        raise ValueError("nobody is authenticated")
    authorized = _authorize(tables, operation, request, trail.principal, trail)
    if operation.asking is None or isinstance(authorized, Deny) or not operation.asking.applies(authorized.payment):
        return authorized
    refusal = await tables.gate.confirm_active(request, trail.principal, operation.asking.scopes, deadline)
    return authorized if refusal is None else refusal


def _authorize(
    tables: Tables, operation: OperationPolicy, request: AuthzRequest, principal: Principal, trail: Trail
) -> _Authorized | Deny:
    """Check what the token may, its merchant, then the body, its merchant, and the consent to this payment."""
    refusal = _early_refusal(operation, request, principal)
    if refusal is not None:
        return refusal
    named = operation.merchant.merchant_ids(principal.claims)
    merchant = _bound_merchant(tables, named, trail) if len(named) < 2 else None
    if isinstance(merchant, Deny):
        return merchant
    read = Payment({}) if operation.body is None else operation.body.read(request)
    if isinstance(read, Deny):
        return read
    payment, card_keys = read
    trail.payment, trail.card_keys = payment, card_keys
    if merchant is None:
        merchant = _bound_merchant(tables, named & {payment.get(MERCHANT)}, trail)
    if isinstance(merchant, Deny):
        return merchant
    if payment.get(MERCHANT, merchant.id) != merchant.id:
        return _another_merchant("token and body name different merchants")
    refusal = operation.grant.refusal(principal, payment) if operation.grant is not None else None
    return _Authorized(principal, merchant, payment, card_keys) if refusal is None else refusal


def _early_refusal(operation: OperationPolicy, request: AuthzRequest, principal: Principal) -> Deny | None:
    """Refuse what no body makes right."""
    refusal = unmet_constraint(operation.sender_constraint, principal)
    if refusal is None and operation.refuses_cookies and any(name in request.headers for name in _COOKIES):
        refusal = presentation("a cookie beside the token")
    refusal = operation.demands.refusal(principal) if refusal is None else refusal
    if refusal is None and operation.idempotency is not None:
        return operation.idempotency.refusal(request)
    return refusal


def _bound_merchant(tables: Tables, named: frozenset[str], trail: Trail) -> MerchantEntry | Deny:
    """Return the merchant of the one name; the body picks among the token's names before, where policy lets it."""
    if len(named) != 1:
        return _another_merchant("the token names no merchant, or several of which the body picks none")
    (merchant_id,) = named
    merchant = tables.merchants.get(merchant_id)
    if merchant is None:
        return Deny(Reason.MERCHANT_UNKNOWN)
    trail.merchant_id = merchant.id
    return merchant if merchant.is_active else Deny(Reason.MERCHANT_SUSPENDED)


def _another_merchant(detail: str) -> Deny:
    reason = Reason.MERCHANT_MISMATCH
    return Deny(reason, Challenge("insufficient_scope", reason.spec.title), detail)


def _assess(
    operation: OperationPolicy, request: AuthzRequest, authorized: _Authorized, trail: Trail, clock: Clock
) -> Deny | None:
    """Step 5: what the rules say of this payment; their outcome is on the trail also where they refuse nothing."""
    values = _attributes(operation, request, authorized, request.time or clock.wall())
    trail.risk = operation.rules.assess(values)
    return _risk_refusal(trail.risk, operation, authorized.principal)


def _attributes(
    operation: OperationPolicy, request: AuthzRequest, authorized: _Authorized, now: float
) -> dict[str, Any]:
    """Return what rules may read (protos/attributes.proto); what is unknown is left out."""
    principal, merchant = authorized.principal, authorized.merchant
    hour, weekday = _hour_and_weekday(int(now), merchant.zone)
    optional = {
        "merchant.mcc": merchant.mcc,
        "merchant.country": merchant.country,
        "peer.ip": request.peer_ip,
        "auth.acr": principal.acr,
        "auth.actor": principal.actor,
    }
    return {
        **authorized.payment,
        **{name: value for name, value in optional.items() if value},
        "merchant.id": merchant.id,
        "merchant.tier": merchant.tier,
        "request.operation": operation.operation,
        "request.method": request.method,
        "request.host": canonical_host(request.host) or "",
        "auth.client_id": principal.client_id,
        "auth.subject": principal.subject,
        "auth.issuer": principal.token_issuer,
        "auth.scopes": sorted(principal.scopes),
        "auth.age_seconds": max(0, int(now - principal.issued_at)),
        "time.unix_seconds": int(now),
        "time.hour": hour,
        "time.weekday": weekday,
    }


@lru_cache(maxsize=64)
def _hour_and_weekday(seconds: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return the hour and the weekday (Monday is 1) there; payments of one second and one zone share it."""
    local = datetime.fromtimestamp(seconds, zone)
    return local.hour, local.isoweekday()


def _risk_refusal(risk: RiskOutcome, operation: OperationPolicy, principal: Principal) -> Deny | None:
    """Decline, or ask for the step-up that a rule demands and this token does not show; one at a time."""
    if risk.verdict == "decline":
        return Deny(Reason.PAYMENT_BLOCKED)
    for step_up in risk.step_ups:
        refusal = operation.demands.step_up_refusal(principal, step_up)
        if refusal is not None:
            return refusal
    return None


def _allow(operation: OperationPolicy, request: AuthzRequest, authorized: _Authorized, risk: RiskOutcome) -> Allow:
    """Return the one answer that lets a request pass; `decide` alone calls it, at its end."""
    return Allow(
        handoff=_handoff(operation, request, authorized),
        forward_token=operation.forward_token,
        is_review=risk.verdict == "review",
        dpop_nonce=authorized.principal.next_nonce,
        would_deny=risk.shadow_verdict == "decline",
    )


def _handoff(operation: OperationPolicy, request: AuthzRequest, authorized: _Authorized) -> dict[str, str]:
    """Return the values of the hand-off contract that this step knows; all text, never empty."""
    payment = authorized.payment if operation.moves_money else {}
    identity = None
    if operation.idempotency is not None:
        identity = operation.idempotency.identity(request, authorized.principal, authorized.merchant.id)
    return {
        "merchant_id": authorized.merchant.id,
        "operation": operation.operation,
        "currency": str(payment.get(CURRENCY, NONE)),
        "amount_minor": str(payment.get(AMOUNT, NONE)),
        "card_key": write_keyed(authorized.card_keys),
        "idempotency": write_identity(identity),
        **operation.subjects.entries(authorized.payment),
    }
