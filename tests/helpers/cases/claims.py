"""Builders of the cases on the claims of a well signed token, and on scopes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer
from helpers.cases.rig import AUDIENCE, CaseRig

Requests = AsyncIterator[Request | Before]
LISTS_TOO = (("providers.yaml", "    leeway_seconds: 60\n", "    leeway_seconds: 60\n    accept_scope_list: true\n"),)
ONE_HOUR = (("providers.yaml", "    leeway_seconds: 60\n", "    leeway_seconds: 60\n    max_lifetime_seconds: 3600\n"),)


@builds("C04", "jwt-no-exp")
async def no_end(rig: CaseRig) -> Requests:
    yield bearer(rig.token(exp=None))


@builds("C05")
async def end_that_is_no_date(rig: CaseRig) -> Requests:
    claims = json.dumps(rig.claims(exp="END"))
    end = str(int(rig.clock.wall()) + 600)
    for text in (f'"{end}"', "true", "NaN", "1e400", "-1"):
        raw = claims.replace('"END"', text).encode()
        yield bearer(rig.key.seal(json.dumps(rig.key.header()).encode(), raw))


@builds("C08", policy=ONE_HOUR)
async def long_life(rig: CaseRig) -> Requests:
    now = int(rig.clock.wall())
    yield Before(bearer(rig.token(exp=now + 3600, iat=now)))
    yield bearer(rig.token(exp=now + 3601, iat=now))
    yield bearer(rig.token(exp=now + 30 * 86400, iat=now))


@builds("C09")
async def issuer_in_another_spelling(rig: CaseRig) -> Requests:
    for issuer in ("https://as.example.test/", "https://AS.example.test"):
        yield bearer(rig.token(iss=issuer))


@builds("C11", "C13", "C14", "jwt-missing-audience")
async def another_audience(rig: CaseRig) -> Requests:
    for audience in (None, "https://other.example.test", [], AUDIENCE + ".evil.test", [AUDIENCE, 1]):
        yield bearer(rig.token(aud=audience))


@builds("C15")
async def claim_missing(rig: CaseRig) -> Requests:
    for name in ("client_id", "jti", "iat", "sub"):
        yield bearer(rig.token(**{name: None}))


@builds("C18")
async def scope_as_a_list(rig: CaseRig) -> Requests:
    yield bearer(rig.token(scope=["payments:write"]))


@builds("C20")
async def client_named_like_a_person(rig: CaseRig) -> Requests:
    person = {"sub": "payer-17", "client_id": "shop-1", "auth_time": int(rig.clock.wall()) - 5}
    yield Before(bearer(rig.token(**person), path="/v1/person-payments"))
    yield bearer(rig.token(sub="payer-17", client_id="payer-17"), path="/v1/person-payments")
    yield bearer(rig.token(sub="payer-17", client_id="shop-1"), path="/v1/person-payments")


@builds("jwt-expired")
async def token_of_yesterday(rig: CaseRig) -> Requests:
    now = int(rig.clock.wall())
    yield bearer(rig.token(iat=now - 1200, exp=now - 600))


@builds("jwt-untrusted-issuer")
async def stranger_as_issuer(rig: CaseRig) -> Requests:
    yield bearer(rig.token(iss="https://evil.test"))


@builds("jwt-scope-array-and-string", policy=LISTS_TOO)
async def scope_in_both_shapes(rig: CaseRig) -> Requests:
    yield bearer(rig.token())
    yield bearer(rig.token(scope=["payments:read", "payments:write"]))


@builds("jwt-missing-one-scope", "insufficient-scope-challenge")
async def may_only_read(rig: CaseRig) -> Requests:
    yield bearer(rig.token(scope="payments:read"))


@builds("scope-strategies")
async def scope_by_exact_name(rig: CaseRig) -> Requests:
    yield bearer(rig.token(scope="payments:write"))
    yield bearer(rig.token(scope="payments"))
