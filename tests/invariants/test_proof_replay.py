"""One proof passes one request: whatever the replicas, the order and the failures."""

from __future__ import annotations

import asyncio
import random

from helpers.bound_gate import BoundPolicy, bound_gates, dpop_bytes
from helpers.dpop import malleated
from helpers.issuer import SigningKey
from helpers.services import payment, reason_of
from helpers.valkey import running

KEY = SigningKey("ES256", "k1")
ROUNDS = 30


async def test_of_many_requests_with_one_proof_at_two_replicas_exactly_one_passes(tmp_path):
    draw = random.Random(7)  # noqa: S311 - which requests meet is no secret
    async with running() as store, bound_gates(tmp_path, KEY, BoundPolicy(store=store.url), replicas=2) as gates:
        token = gates[0].bound()
        for _ in range(ROUNDS):
            proof = gates[0].proof(token)
            messages = [
                dpop_bytes(
                    token,
                    malleated(proof) if number % 3 == 0 else proof,
                    body=payment(amount={"minor_units": 100 + number, "currency": "EUR"}),
                )
                for number in range(6)
            ]
            # Each is asked of one replica or, as Envoy does after a broken call, of both.
            asked = [(message, gate) for message in messages for gate in gates if draw.random() < 0.8]
            draw.shuffle(asked)
            answers = await asyncio.gather(*(gate.call(message) for message, gate in asked))
            reasons = [reason_of(answer) for answer in answers]
            assert set(reasons) <= {"allow", "dpop_proof_invalid"}
            passed = {message for (message, _), reason in zip(asked, reasons, strict=True) if reason == "allow"}
            assert len(passed) == 1


async def test_nothing_passes_once_the_store_is_gone(tmp_path):
    async with running() as store, bound_gates(tmp_path, KEY, BoundPolicy(store=store.url), replicas=2) as gates:
        token = gates[0].bound()
        proof = gates[0].proof(token)
        assert await gates[0].reason(token, proof) == "allow"
        await store.stop()
        for gate in gates:
            assert await gate.reason(token, proof) == "replay_store_unavailable"
            assert await gate.reason(token, gate.proof(token)) == "replay_store_unavailable"
