"""One signature passes one request: whatever the replicas, the order and the spelling."""

from __future__ import annotations

import asyncio
import random

from helpers.bound_gate import as_envoy
from helpers.issuer import SigningKey
from helpers.services import check_bytes, reason_of
from helpers.signed_gate import signed_gates
from helpers.valkey import running

KEY = SigningKey("ES256", "k1")
ROUNDS = 20


async def test_of_many_requests_with_one_signature_at_two_replicas_exactly_one_passes(tmp_path):
    draw = random.Random(9)  # noqa: S311 - which requests meet is no secret
    async with running() as store, signed_gates(tmp_path, KEY, store=store.url, replicas=2) as gates:
        for number in range(ROUNDS):
            # The same nonce under two signatures is used up once as well.
            variants = [gates[0].signed(nonce=f"round-{number}") for _ in range(2)]
            messages = [as_envoy(check_bytes(headers=draw.choice(variants), body=gates[0].body)) for _ in range(6)]
            # Each is asked of one replica or, as Envoy does after a broken call, of both.
            asked = [(message, gate) for message in messages for gate in gates if draw.random() < 0.8]
            draw.shuffle(asked)
            answers = await asyncio.gather(*(gate.call(message) for message, gate in asked))
            reasons = [reason_of(answer) for answer in answers]
            assert set(reasons) <= {"allow", "signature_invalid"}
            passed = {message for (message, _), reason in zip(asked, reasons, strict=True) if reason == "allow"}
            assert len(passed) == 1


async def test_nothing_passes_once_the_store_is_gone(tmp_path):
    async with running() as store, signed_gates(tmp_path, KEY, store=store.url, replicas=2) as gates:
        signed = gates[0].signed()
        assert await gates[0].reason(signed) == "allow"
        await store.stop()
        for gate in gates:
            assert await gate.reason(signed) == "replay_store_unavailable"
            assert await gate.reason(gate.signed()) == "replay_store_unavailable"
