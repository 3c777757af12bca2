"""Builders of the cases on tokens that are called back before they expire."""

from __future__ import annotations

from collections.abc import AsyncIterator

from extauthz.tokens.revocation_feed import RevocationFeed
from extauthz.tokens.revocations import Kind, Revocation, forget_at
from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer
from helpers.cases.rig import ISSUER, CaseRig
from helpers.dpop import malleated

Requests = AsyncIterator[Request | Before]
CALLED_BACK = (("providers.yaml", "providers:\n", "revocation: {}\nproviders:\n"),)


async def revoke(rig: CaseRig, kind: Kind, value: str, not_before: float = 0.0) -> None:
    """Write an entry the way a receiver of events does, inside the service."""
    (feed,) = (part for part in rig.service._parts.background if isinstance(part, RevocationFeed))
    entry = Revocation(kind, ISSUER, value, not_before, forget_at(rig.clock.wall(), not_before))
    await feed.revoke([entry], rig.clock.monotonic() + 5.0)


@builds("J35", policy=CALLED_BACK)
async def other_text_of_a_revoked_token(rig: CaseRig) -> Requests:
    token = rig.token(jti="called-back")
    yield Before(bearer(malleated(token)))
    yield Before(bearer(token))
    await revoke(rig, "jti", "called-back")
    yield bearer(token)
    yield bearer(malleated(token))


@builds("revoked-before-expiry", policy=CALLED_BACK)
async def warm_token_on_the_list(rig: CaseRig) -> Requests:
    by_name, by_subject = rig.token(jti="called-back"), rig.token(jti="token-2", sub="payer-2")
    for token in (by_name, by_subject):
        yield Before(bearer(token))
    await revoke(rig, "jti", "called-back")
    await revoke(rig, "sub", "payer-2", rig.clock.wall())
    yield bearer(by_name)
    yield bearer(by_subject)
