"""A revoked token passes nowhere: two replicas over one store, warm tokens, a store that pauses, dies or forgets."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import generate_latest

from chassis.clock import SystemClock
from extauthz.tokens.revocations import Revocation, forget_at
from extauthz.tokens.store_revocations import StoreRevocations
from helpers.bound_gate import BoundPolicy, bound_gates, records
from helpers.issuer import SigningKey
from helpers.services import check_bytes, edit, reason_of
from helpers.valkey import administrator
from helpers.valkey import running as running_store
from helpers.waiting import until, until_told

KEY = SigningKey("ES256", "k1")
CLOCK = SystemClock()


@dataclass
class Revoking(BoundPolicy):
    """The shipped set with a list of revoked tokens."""

    dpop: str = ""
    revocation: str = "{max_staleness_seconds: 1}"

    def write(self, policies):
        super().write(policies)
        providers = policies / "providers.yaml"
        providers.write_text(f"{providers.read_text()}revocation: {self.revocation}\n")


@asynccontextmanager
async def running():
    """A store with a list that is not young, so that replicas believe it at once."""
    async with running_store() as store:
        async with administrator(store.url) as admin:
            await admin.hset("tollhouse:{revoked}:list", mapping={"id": "old", "born": 0})
        yield store


async def pay(gate, token, **more):
    return reason_of(await gate.call(check_bytes(token, **more)))


async def look(gate, token):
    return await pay(gate, token, method="GET", path="/v1/payments/pay_1", body=b"")


async def ready(gates):
    await until(lambda: all(gate.service.readiness().is_ready for gate in gates))


async def revoke(url, kind, issuer, value, not_before=0.0):
    """Write as another process would."""
    store = StoreRevocations.from_url(url, CLOCK)
    await store.start()
    try:
        entry = Revocation(kind, issuer, value, not_before, forget_at(CLOCK.wall()))
        await store.revoke([entry], CLOCK.monotonic() + 5)
    finally:
        await store.stop()


async def test_entry_is_in_force_on_every_replica_for_tokens_that_are_warm(tmp_path):
    async with running() as store, bound_gates(tmp_path, KEY, Revoking(store=store.url), replicas=2) as gates:
        await ready(gates)
        issuer = gates[0].issuer.issuer
        now = CLOCK.wall()
        tokens = {
            "jti": gates[0].token(jti="t-1"),
            "sid": gates[0].token(jti="t-2", sid="s-1"),
            "sub": gates[0].token(jti="t-3", sub="alice", iat=int(now) - 100),
        }
        others = [gates[0].token(jti="t-4", sid="s-2"), gates[0].token(jti="t-5", sub="alice", iat=int(now) - 10)]
        for gate in gates:
            assert {await pay(gate, token) for token in (*tokens.values(), *others)} == {"allow"}
        for kind, value, not_before in (("jti", "t-1", 0.0), ("sid", "s-1", 0.0), ("sub", "alice", now - 50)):
            await revoke(store.url, kind, issuer, value, not_before)
            for gate in gates:

                async def is_refused(gate=gate, token=tokens[kind]):
                    return await pay(gate, token) == "token_revoked"

                await until_told(is_refused)
                assert await look(gate, tokens[kind]) == "token_revoked"
        for gate in gates:
            assert {await pay(gate, token) for token in others} == {"allow"}
            scrape = generate_latest(gate.service.registry).decode()
            assert "tollhouse_revocation_entries 3.0" in scrape
            assert "tollhouse_revocation_staleness_seconds 0." in scrape
        answer = await gates[0].call(check_bytes(tokens["jti"]))
        assert answer.denied_response.status.code == 401
        (challenge,) = (
            option.header.value
            for option in answer.denied_response.headers
            if option.header.key.lower() == "www-authenticate"
        )
        assert 'error="invalid_token"' in challenge
    assert "token_revoked" in {record.get("reason") for record in records(tmp_path)}


async def test_payments_wait_while_nobody_can_tell_and_go_on_afterwards(tmp_path):
    async with running() as store, bound_gates(tmp_path, KEY, Revoking(store=store.url), replicas=2) as gates:
        await ready(gates)
        token, revoked = gates[0].token(jti="good"), gates[0].token(jti="bad")
        await revoke(store.url, "jti", gates[0].issuer.issuer, "bad")
        for gate in gates:
            assert await pay(gate, token) == "allow"

            async def knows(gate=gate):
                return await pay(gate, revoked) == "token_revoked"

            await until_told(knows)
        os.kill(store.pid, signal.SIGSTOP)
        try:
            for gate in gates:

                async def waits(gate=gate):
                    return await pay(gate, token) == "revocation_unavailable"

                await until_told(waits)
                assert await look(gate, token) == "allow"
                assert await pay(gate, revoked) == "token_revoked"
                answer = await gate.call(check_bytes(token))
                refusal = answer.error_response
                assert refusal.status.code == 503
                assert "retry-after" in {option.header.key.lower() for option in refusal.headers}
                await until(lambda gate=gate: any("revocations" in text for text in gate.service.readiness().warnings))
        finally:
            os.kill(store.pid, signal.SIGCONT)
        for gate in gates:

            async def passes(gate=gate):
                return await pay(gate, token) == "allow"

            await until_told(passes)
            assert await pay(gate, revoked) == "token_revoked"


async def test_store_that_died_and_came_back_empty_learns_the_list_from_the_replicas(tmp_path):
    async with running() as store, bound_gates(tmp_path, KEY, Revoking(store=store.url), replicas=2) as gates:
        await ready(gates)
        token, revoked = gates[0].token(jti="good"), gates[0].token(jti="bad")
        await revoke(store.url, "jti", gates[0].issuer.issuer, "bad")

        async def is_known():
            return {await pay(gate, revoked) for gate in gates} == {"token_revoked"}

        await until_told(is_known)
        await store.stop()
        assert await pay(gates[0], revoked) == "token_revoked"
        await store.start()

        async def is_over():
            return {await pay(gate, token) for gate in gates} == {"allow"}

        await until_told(is_over)
        assert await is_known()
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        # A replica that starts now has the list from the store alone.
        async with bound_gates(fresh, KEY, Revoking(store=store.url)) as (newcomer,):
            await ready([newcomer])
            assert "tollhouse_revocation_entries 1.0" in generate_latest(newcomer.service.registry).decode()


async def test_replica_is_not_ready_and_refuses_before_it_has_the_list(tmp_path):
    async with running() as store:
        await store.stop()
        async with bound_gates(tmp_path, KEY, Revoking(store=store.url)) as (gate,):
            await until(lambda: gate.service.readiness().waiting_for == ("the list of revoked tokens",))
            token = gate.token()
            assert await pay(gate, token) == "revocation_unavailable"
            assert await look(gate, token) == "revocation_unavailable"
            await store.start()  # with nothing in it: a young list, which is not believed at once
            await ready([gate])
            assert await pay(gate, token) == "allow"


async def test_policy_without_the_section_asks_nobody(tmp_path):
    async with running() as store:
        await revoke(store.url, "jti", "any", "any")
        async with bound_gates(tmp_path, KEY, BoundPolicy(store=store.url)) as (gate,):
            await ready([gate])
            assert "tollhouse_revocation" not in generate_latest(gate.service.registry).decode()
            providers = gate.policies / "providers.yaml"
            edit(providers, "    leeway_seconds: 30", "    leeway_seconds: 30 ")
            providers.write_text(f"{providers.read_text()}revocation: {{}}\n")
            await until(lambda: "tollhouse_revocation_entries 1.0" in generate_latest(gate.service.registry).decode())
            await ready([gate])
