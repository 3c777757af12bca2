"""Builders of the cases on what a good token may do: step-up, authorization details, actors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer, payment
from helpers.cases.rig import AUDIENCE, CaseRig

Requests = AsyncIterator[Request | Before]
ACCOUNT = "DE02120300000000202051"
OTHER_ACCOUNT = "DE02500105170137075030"
STEPPED_UP, RISKY, FRESH = "/v1/stepped-up", "/v1/risky", "/v1/fresh"
CONSENTED, ACTED = "/v1/consented", "/v1/acted"


def granted(**changes: Any) -> dict[str, Any]:
    """Return the consent to EUR 123.50 to one account."""
    return {
        "type": "payment_initiation",
        "actions": ["initiate"],
        "locations": [AUDIENCE],
        "instructedAmount": {"amount": "123.50", "currency": "EUR"},
        "creditorAccount": {"iban": ACCOUNT},
        **changes,
    }


ANY_GRANT = [
    granted(),
    granted(instructedAmount={"amount": "123.51", "currency": "EUR"}),
    granted(instructedAmount={"amount": "123.50", "currency": "USD"}),
    granted(creditorAccount={"iban": OTHER_ACCOUNT}),
]
"""Consents to every payment that these cases ask for."""


def _user(rig: CaseRig, ago: int = 5, **claims: Any) -> dict[str, Any]:
    return {"acr": "urn:sca", "auth_time": int(rig.clock.wall()) - ago, **claims}


def _consented(rig: CaseRig, *details: dict[str, Any], **body: Any) -> Request:
    token = rig.token(authorization_details=list(details) or [granted()], scope=None)
    return bearer(token, path=CONSENTED, body=payment(**{"to": ACCOUNT, **body}))


@builds("S01")
async def weak_sign_in(rig: CaseRig) -> Requests:
    for path in (STEPPED_UP, RISKY):
        yield Before(bearer(rig.token(**_user(rig)), path=path))
        yield bearer(rig.token(**_user(rig, acr="pwd")), path=path)


@builds("S02")
async def old_sign_in(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token(**_user(rig, 290)), path=FRESH))
    yield bearer(rig.token(**_user(rig, 900)), path=FRESH)


@builds("S03")
async def weak_sign_in_and_no_scope(rig: CaseRig) -> Requests:
    yield bearer(rig.token(**_user(rig, acr="pwd", scope="payments:read")), path=STEPPED_UP)


@builds("S06")
async def client_alone_asked_to_step_up(rig: CaseRig) -> Requests:
    for path in (STEPPED_UP, RISKY):
        for claims in ({}, {"sub": "shop-1"}, {"sub": "shop-1", "acr": "1"}):
            yield bearer(rig.token(**claims), path=path)


@builds("R01")
async def consent_to_this_payment(rig: CaseRig) -> Requests:
    yield _consented(rig)
    yield _consented(rig, granted(instructedAmount={"amount": "123.5", "currency": "EUR"}))
    yield _consented(rig, {"type": "account_information"}, granted())


@builds("R02")
async def a_cent_more(rig: CaseRig) -> Requests:
    yield Before(_consented(rig))
    yield _consented(rig, amount=12351)


@builds("R03")
async def another_payment(rig: CaseRig) -> Requests:
    yield Before(_consented(rig))
    yield _consented(rig, currency="USD")
    yield _consented(rig, to=OTHER_ACCOUNT)
    yield _consented(rig, granted(actions=["status", "cancel"]))


@builds("R04")
async def consent_for_another_api(rig: CaseRig) -> Requests:
    yield Before(_consented(rig))
    yield _consented(rig, granted(locations=["https://other.example.test", AUDIENCE + ".evil.test"]))


@builds("R05")
async def consent_of_an_unknown_type(rig: CaseRig) -> Requests:
    yield Before(_consented(rig))
    yield _consented(rig, granted(type="payment_initiation_v2"))


@builds("A01")
async def allowed_actor(rig: CaseRig) -> Requests:
    yield bearer(rig.token(act={"sub": "gateway-1"}), path=ACTED)


@builds("A03")
async def former_actor(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token(act={"sub": "gateway-1", "act": {"sub": "other"}}), path=ACTED))
    yield bearer(rig.token(act={"sub": "other", "act": {"sub": "gateway-1"}}), path=ACTED)
