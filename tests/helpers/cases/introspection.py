"""Builders of the cases on tokens whose issuer is asked about them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer, plain
from helpers.cases.rig import CaseRig
from helpers.introspection import Reply

Requests = AsyncIterator[Request | Before]
OPAQUE = "opaque-token-0123456789"
GATE = "gate-1"
SIGNED_TYPE = "token-introspection+jwt"


def _asked(more: str = "") -> tuple[str, str, str]:
    who = f"endpoint: ISSUER_URL/introspect, client_id: {GATE}, authentication: client_secret_basic"
    section = f"    introspection: {{{who}, opaque_tokens: true{more}}}\n"
    return ("providers.yaml", "    leeway_seconds: 60\n", f"    leeway_seconds: 60\n{section}")


ASKED = (_asked(),)
ASKED_SIGNED = (_asked(", reply: jwt"),)
EXAMPLE_OPERATION = """\
operations:
  - operation: example
    hosts: [resource.example.org]
    method: GET
    path: /protectedresource
    scopes: [payments:read]
    merchant: {claim: /merchant_id}
    moves_money: false
"""


def says(rig: CaseRig, token: str = OPAQUE, **members: Any) -> None:
    """Let the issuer call one token active, and every other one inactive."""
    told: Reply = {"active": True, **rig.claims(**members)}
    rig.issuer.introspection.say = lambda asked: told if asked == token else {"active": False}


def signed_reply(rig: CaseRig) -> str:
    """Return a signed reply about a good token."""
    now = int(rig.clock.wall())
    outer = {"iss": rig.claims()["iss"], "aud": GATE, "iat": now}
    return rig.key.mint({**outer, "token_introspection": {"active": True, **rig.claims()}}, typ=SIGNED_TYPE)


@builds("I04", policy=ASKED)
async def our_credentials_refused(rig: CaseRig) -> Requests:
    says(rig)
    rig.issuer.introspection.status = 401
    yield bearer(OPAQUE)
    rig.issuer.introspection.status = 200
    yield Before(bearer(OPAQUE))


@builds("I05", "introspection-timeout", policy=ASKED)
async def silent_endpoint(rig: CaseRig) -> Requests:
    says(rig)
    rig.issuer.introspection.gate.clear()
    began = time.monotonic()
    yield bearer(OPAQUE)
    assert time.monotonic() - began < 5.0, "Envoy would have given up"
    assert len(rig.issuer.introspection.questions) == 1


@builds("I08", policy=ASKED_SIGNED)
async def signed_reply_of_the_right_issuer(rig: CaseRig) -> Requests:
    rig.issuer.introspection.content_type = f"application/{SIGNED_TYPE}"
    rig.issuer.introspection.say = lambda _token: signed_reply(rig).encode()
    yield bearer(OPAQUE)


@builds("I10", policy=ASKED_SIGNED)
async def signed_reply_as_a_token(rig: CaseRig) -> Requests:
    shown = signed_reply(rig)
    says(rig, shown)
    yield bearer(shown)
    assert rig.issuer.introspection.questions == [], "a JWT was shown to the issuer"


@builds("I11", policy=ASKED)
async def bound_by_the_reply(rig: CaseRig) -> Requests:
    says(rig, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
    yield bearer(OPAQUE)


@builds("introspection-inactive", policy=ASKED)
async def inactive(rig: CaseRig) -> Requests:
    rig.issuer.introspection.say = lambda _token: {"active": False, **rig.claims()}
    yield bearer(OPAQUE)


@builds("introspection-cache-is-per-token-not-per-rule", policy=ASKED)
async def one_answer_for_two_operations(rig: CaseRig) -> Requests:
    says(rig, scope="payments:write")
    yield bearer(OPAQUE)
    yield bearer(OPAQUE, method="GET", path="/v1/payments/p-1", body=b"")
    assert len(rig.issuer.introspection.questions) == 1


@builds("D01", policy=(*ASKED, ("routes.yaml", "operations:\n", EXAMPLE_OPERATION)))
async def example_of_the_rfc(rig: CaseRig) -> Requests:
    """RFC 9449 sections 6.2 and 7.1: the token is opaque, and introspection tells what it is bound to."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    proof = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpD"
        "a0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6"
        "IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGx"
        "lLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk"
        "1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
    )
    rig.clock.set_wall(1_562_262_618)
    says(rig, token, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
    request = plain(method="GET", host="resource.example.org", path="/protectedresource", body=b"")
    yield request.with_headers(("authorization", f"DPoP {token}"), ("dpop", proof))
