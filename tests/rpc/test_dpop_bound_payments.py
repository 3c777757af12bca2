"""DPoP-bound payments with Envoy's bytes, over the service as it runs (RFC 9449)."""

from __future__ import annotations

import pytest
import pytest_asyncio

from chassis.clock import SystemClock
from chassis.service import StartRefused
from helpers.bound_gate import BoundPolicy, bound_gates, dpop_bytes, headers_of, records
from helpers.dpop import DpopClient, malleated
from helpers.issuer import SigningKey
from helpers.services import payment, reason_of
from helpers.waiting import until

KEY = SigningKey("ES256", "k1")
METADATA = "https://payments.tollhouse.test/.well-known/oauth-protected-resource"


@pytest_asyncio.fixture
async def gate(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy()) as (gate,):
        yield gate


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_bound_payment_passes_and_neither_token_nor_proof_goes_on(gate, raw_headers):
    token = gate.bound()
    response = await gate.send(token, gate.proof(token), raw_headers=raw_headers)
    assert reason_of(response) == "allow"
    assert {"authorization", "dpop"} <= set(response.ok_response.headers_to_remove)
    assert "dpop-nonce" not in headers_of(response)


async def test_members_of_cnf_that_nobody_knows_change_nothing(gate):
    token = gate.bound(jkt=gate.client.jkt, **{"kc-jkt-type": "x"})
    assert await gate.reason(token, gate.proof(token)) == "allow"


@pytest.mark.parametrize(
    "cnf", [{}, [], "", None, {"kid": "x"}, {"jkt": "x"}, {"jkt": 5}, {"jkt": None}, {"x5t": "A" * 43}]
)
async def test_cnf_that_cannot_be_checked_refuses_the_token(gate, cnf):
    token = gate.token(**({"cnf": cnf} if cnf is not None else {}))
    if cnf is None:
        assert await gate.reason(token, None, scheme="Bearer") == "allow"
    else:
        assert await gate.reason(token, gate.proof(token)) == "access_token_invalid"
        assert await gate.reason(token, None, scheme="Bearer") == "access_token_invalid"


async def test_bound_token_without_its_proof_is_refused_everywhere(gate):
    token = gate.bound()
    assert await gate.reason(token, None) == "dpop_proof_invalid"
    assert await gate.reason(token, None, scheme="Bearer") == "token_binding"
    assert await gate.reason(token, gate.proof(token), scheme="Bearer") == "token_binding"
    read = {"method": "GET", "path": "/v1/payments/p1", "body": b""}
    assert await gate.reason(token, None, scheme="Bearer", **read) == "token_binding"
    address = "https://payments.tollhouse.test/v1/payments/p1"
    assert await gate.reason(token, gate.proof(token, htm="GET", htu=address), **read) == "allow"


async def test_unbound_token_with_a_fine_proof_is_refused(gate):
    token = gate.token()
    assert await gate.reason(token, gate.proof(token)) == "token_binding"
    assert await gate.reason(token, gate.proof(token), scheme="Bearer") == "allow"


async def test_proof_of_another_key_or_another_token_is_refused(gate):
    token, other = gate.bound(), gate.bound()
    thief = DpopClient(address=gate.client.address)
    assert await gate.reason(token, thief.proof(token, SystemClock().wall())) == "token_binding"
    other = gate.token(cnf={"jkt": gate.client.jkt}, jti="another")
    assert await gate.reason(token, gate.proof(other)) == "dpop_proof_invalid"


@pytest.mark.parametrize("again", [lambda proof: proof, malleated], ids=["same text", "other signature text"])
async def test_proof_passes_once_whatever_the_body_is(gate, again):
    token = gate.bound()
    proof = gate.proof(token)
    assert await gate.reason(token, proof) == "allow"
    dearer = payment(amount={"minor_units": 12500, "currency": "EUR"})
    assert await gate.reason(token, again(proof), body=dearer) == "dpop_proof_invalid"
    assert await gate.reason(token, again(proof)) == "dpop_proof_invalid"
    assert await gate.reason(token, gate.proof(token)) == "allow"


async def test_refused_proof_is_not_used_up(gate):
    token = gate.bound()
    proof = gate.proof(token)
    assert await gate.reason(token, proof, method="PUT", path="/v1/payments") == "route_unknown"
    assert await gate.reason(token, proof, path="/v1/payments/p1/refunds") == "dpop_proof_invalid"
    assert await gate.reason(token, proof) == "allow"


@pytest.mark.parametrize("raw_headers", [False, True], ids=["headers", "header_map"])
async def test_two_proofs_are_none(gate, raw_headers):
    token = gate.bound()
    proofs = f"{gate.proof(token)},{gate.proof(token)}"
    assert await gate.reason(token, proofs, raw_headers=raw_headers) == "dpop_proof_invalid"


async def test_challenges_are_those_of_the_rfc(gate):
    token = gate.bound()
    plain, algs = f'realm="tollhouse", resource_metadata="{METADATA}"', 'algs="ES256 EdDSA PS256"'

    async def challenge(*arguments, **more):
        return headers_of(await gate.send(*arguments, **more))["www-authenticate"]

    error = 'error="invalid_dpop_proof", error_description="The DPoP proof is not valid."'
    assert await challenge(token, None) == f"Bearer {plain}, DPoP {plain}, {error}, {algs}"
    error = 'error="invalid_token", error_description="The access token is not bound to this caller as it must be."'
    assert await challenge(token, None, scheme="Bearer") == f"Bearer {plain}, {error}, DPoP {plain}, {algs}"
    error = 'error="invalid_token", error_description="The access token is not valid."'
    assert await challenge("x.y.z", None) == f"Bearer {plain}, DPoP {plain}, {error}, {algs}"
    assert await challenge("x", None, scheme="Basic") == f"Bearer {plain}, DPoP {plain}, {algs}"
    both = await challenge(f"{token},DPoP {token}", None, scheme="Bearer")
    assert both.startswith(f'Bearer {plain}, error="invalid_request"')
    assert both.endswith(f", DPoP {plain}, {algs}")


async def test_request_that_envoy_asks_twice_about_is_no_replay(gate):
    token = gate.bound()
    message = dpop_bytes(token, gate.proof(token))
    assert reason_of(await gate.call(message)) == "allow"
    assert reason_of(await gate.call(message)) == "allow"


async def test_store_that_is_away_is_a_503_with_a_time_to_wait(tmp_path):
    policy = BoundPolicy(store=f"unix://{tmp_path}/nobody.sock")
    async with bound_gates(tmp_path, KEY, policy) as (gate,):
        await until(lambda: gate.service.readiness().is_ready)
        token = gate.bound()
        response = await gate.send(token, gate.proof(token))
        assert reason_of(response) == "replay_store_unavailable"
        assert response.error_response.status.code == 503
        assert "www-authenticate" not in headers_of(response)
        assert int(headers_of(response)["retry-after"]) > 0
        # What is wrong with the proof is said all the same, and other tokens pass.
        assert await gate.reason(token, None) == "dpop_proof_invalid"
        assert await gate.reason(gate.token(), None, scheme="Bearer") == "allow"
        assert any("503" in warning for warning in gate.service.readiness().warnings)


@pytest.mark.parametrize(
    ("policy", "code"),
    [(BoundPolicy(store=""), "P093"), (BoundPolicy(dpop="{nonce: required}"), "P094")],
)
async def test_set_that_needs_what_was_not_given_is_not_served(tmp_path, policy, code):
    with pytest.raises(StartRefused, match=code):
        async with bound_gates(tmp_path, KEY, policy):
            pass


async def test_store_that_no_policy_needs_is_told(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy(dpop="")) as (gate,):
        assert any(warning.startswith("a store is set") for warning in gate.service.readiness().warnings)
        # Without `dpop` the scheme is an unknown one, and tokens bound to a key are refused.
        token = gate.bound()
        assert await gate.reason(token, gate.proof(token)) == "access_token_missing"
        assert await gate.reason(token, None, scheme="Bearer") == "token_binding"


async def test_nonce_is_asked_for_taken_and_renewed(tmp_path):
    policy = BoundPolicy(dpop="{nonce: required}", has_nonce_key=True)
    async with bound_gates(tmp_path, KEY, policy, replicas=2) as (one, other):
        token = one.bound()
        for nonce in ({}, {"nonce": "x"}, {"nonce": "A" * 32}):
            response = await one.send(token, one.proof(token, **nonce))
            assert reason_of(response) == "dpop_nonce_required"
            asked = headers_of(response)
            assert 'error="use_dpop_nonce"' in asked["www-authenticate"].partition(", DPoP ")[2]
        fresh = asked["dpop-nonce"]
        # The other replica knows it, though it never heard of it.
        response = await other.send(token, other.proof(token, nonce=fresh))
        assert reason_of(response) == "allow"
        proof = one.proof(token, nonce=fresh)
        assert await one.reason(token, proof) == "allow"
        assert await one.reason(token, proof) == "dpop_proof_invalid"


async def test_nothing_of_token_proof_or_key_is_written_down(tmp_path):
    async with bound_gates(tmp_path, KEY, BoundPolicy()) as (gate,):
        token = gate.bound()
        proof = gate.proof(token, jti="a-name-of-the-client")
        for _ in range(2):
            await gate.send(token, proof)
        jkt = gate.client.jkt
    written = records(tmp_path)
    assert [(record["verdict"], record["reason"]) for record in written] == [
        ("allow", "allow"),
        ("deny", "dpop_proof_invalid"),
    ]
    text = str(written)
    assert not any(secret in text for secret in (token, proof, jkt, "a-name-of-the-client"))
