"""How long a used signature is remembered, whatever the operation that took it says."""

from __future__ import annotations

import pytest

from extauthz.model import AuthzRequest, Deny, Principal
from extauthz.reasons import Reason
from extauthz.signatures.check import SignatureCheck, SignatureMeans
from extauthz.signatures.signers import Signer
from extauthz.tokens.replay import MemoryReplays
from helpers.clock import FakeClock
from helpers.requests import bearer_request
from helpers.signing import SigningClient
from policy.schema.signatures import MessageSignature

ADDRESS = "https://pay.example.test/v1/payments"
CALLER = Principal("https://as.example.test", "user-1", "shop-1", frozenset(), {}, 0.0, 0.0)


def _signed(client: SigningClient, created: float) -> AuthzRequest:
    request = bearer_request("a.b.c")
    return bearer_request(
        "a.b.c", headers=client.sign(dict(request.headers), request.body, created=created, url=ADDRESS)
    )


@pytest.mark.parametrize("waited", [0, 41, 46, 59])
async def test_used_signature_stays_used_where_another_rule_takes_it_for_longer(waited):
    clock, client = FakeClock(), SigningClient("ed25519")
    signer = Signer(CALLER.token_issuer, CALLER.client_id, "ed25519", "EdDSA", client.resolve_public_key(""))
    means = SignatureMeans({client.keyid: signer}, clock, MemoryReplays(clock))
    short, long = (SignatureCheck(MessageSignature(max_age_seconds=seconds), means) for seconds in (5, 60))
    request = _signed(client, clock.wall())
    assert await short.refusal(request, CALLER, clock.monotonic() + 1) is None
    clock.advance(waited)
    refused = await long.refusal(request, CALLER, clock.monotonic() + 1)
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.detail) == (Reason.SIGNATURE_INVALID, "the nonce was used before")
