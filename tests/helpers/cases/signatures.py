"""Builders of the cases on signed requests; the key is the one that RFC 9421 publishes (appendix B.1.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from helpers.cases.registry import Before, builds
from helpers.cases.request import PATH_OF_SIGNED, Request, bearer, payment
from helpers.cases.rig import CaseRig
from helpers.issuer import SigningKey
from helpers.signing import COMPONENTS, SigningClient

Requests = AsyncIterator[Request | Before]
ADDRESS = f"https://pay.example.test{PATH_OF_SIGNED}"
PRIVATE = bytes.fromhex("9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5")


def client() -> SigningClient:
    """Return the client whose key the case set knows."""
    key = SigningKey("Ed25519", private=Ed25519PrivateKey.from_private_bytes(PRIVATE))
    return SigningClient("ed25519", "test-key-ed25519", key)


def signed(rig: CaseRig) -> Request:
    """Return a payment that is signed as it must be."""
    request = bearer(rig.token(), path=PATH_OF_SIGNED)
    headers = client().sign(
        dict(request.headers), request.body, components=COMPONENTS, created=rig.clock.wall(), url=ADDRESS
    )
    return replace(request, headers=tuple(headers.items()))


@builds("H01")
async def signed_as_it_must_be(rig: CaseRig) -> Requests:
    yield signed(rig)


@builds("H02")
async def body_changed_under_its_digest(rig: CaseRig) -> Requests:
    yield replace(signed(rig), body=payment(amount=99_999))


@builds("H05")
async def algorithm_that_is_not_the_keys(rig: CaseRig) -> Requests:
    request = signed(rig)
    given = dict(request.headers)["signature-input"]
    assert 'alg="ed25519"' in given
    yield request.with_header("signature-input", given.replace('alg="ed25519"', 'alg="rsa-pss-sha512"'))
