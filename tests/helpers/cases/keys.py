"""Builders of the cases on the issuer's keys; each has an issuer of its own to break."""

from __future__ import annotations

from collections.abc import AsyncIterator

from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer
from helpers.cases.rig import CaseRig, Key
from helpers.issuer import b64

Requests = AsyncIterator[Request | Before]


@builds("K02", "unknown-kid-triggers-one-refresh", needs_own_rig=True)
async def key_published_a_moment_ago(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token()))
    rig.clock.advance(300)
    new = Key(kid="rotated-in-later")
    rig.publish(rig.key, new)
    before = rig.issuer.jwks_fetches
    yield bearer(rig.token(new))
    assert rig.issuer.jwks_fetches == before + 1, "not exactly one fetch"


@builds("K03", needs_own_rig=True)
async def kids_nobody_knows(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token()))
    rig.clock.advance(60)
    before = rig.issuer.jwks_fetches
    for number in range(1000):
        # From many places: one address alone would be held up before it costs a signature.
        address = f"198.19.{number // 250}.{number % 250}"
        yield bearer(rig.key.mint(rig.claims(), kid=f"kid-{number}"), peer_ip=address)
    assert rig.issuer.jwks_fetches <= before + 1, "more than one fetch"


@builds("K06", "key-rotated-out-drops-cached-verdicts", needs_own_rig=True)
async def key_that_was_withdrawn(rig: CaseRig) -> Requests:
    token = rig.token(exp=int(rig.clock.wall()) + 3000)
    yield Before(bearer(token))
    rig.publish(Key(kid="next"))
    rig.clock.advance(601)
    yield bearer(token)


@builds("K09", needs_own_rig=True)
async def symmetric_key_in_the_set(rig: CaseRig) -> Requests:
    secret = Key("HS256", "shared")
    rig.publish(rig.key, {"kty": "oct", "kid": "shared", "alg": "HS256", "k": b64(secret.key.raw_value)})
    rig.clock.advance(601)
    yield Before(bearer(rig.token()))
    yield bearer(secret.mint(rig.claims()))


@builds("K10", needs_own_rig=True)
async def key_set_behind_a_redirect(rig: CaseRig) -> Requests:
    rig.issuer.status = 302
    rig.issuer.headers = {"location": "http://169.254.169.254/latest/meta-data"}
    rig.clock.advance(120)
    yield bearer(rig.token())


@builds("jwks-down-cold-start", needs_own_rig=True)
async def no_key_ever_arrived(rig: CaseRig) -> Requests:
    yield bearer(rig.token())


@builds("timeout-mid-pipeline-fails-closed", needs_own_rig=True)
async def issuer_that_hangs(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token()))
    rig.issuer.gate.clear()
    rig.clock.advance(60)
    yield bearer(rig.token(Key(kid="new")), timeout=1.0)
