"""Tokens that Envoy verified: believed for the very token that came, by the provider's own key, never otherwise."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from chassis.clock import SystemClock
from chassis.http_client import HttpClient
from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import compile_providers
from extauthz.tokens.revocation_feed import FeedPace, RevocationFeed, RevocationRules
from extauthz.tokens.revocations import MemoryRevocations, Revocation, forget_at
from extauthz.wire import parse_check_request
from extauthz.wire_claims import NAMESPACE, read_claims, read_number
from helpers.clock import FakeClock
from helpers.issuer import AUDIENCE, NOW, SigningKey, good_claims, mint
from helpers.requests import authz_request, bearer_request
from helpers.waiting import until
from policy.schema.providers import Provider, ProvidersFile
from protos import envoy_wire_pb2 as wire

VOUCHED = "https://vouched.example"
SIGNED = "https://signed.example"
KEY = SigningKey("ES256")
PAYLOAD = "vouched_claims"


def metadata(**payloads: Any) -> wire.Metadata:
    """Return dynamic metadata as Envoy sends it: numbers are doubles."""
    written = wire.Metadata()
    written.filter_metadata[NAMESPACE].CopyFrom(ParseDict(payloads, Struct()))
    return written


def provider(issuer: str, **more: Any) -> Provider:
    name = issuer.removeprefix("https://").split(".")[0]
    values = {"id": name, "issuer": issuer, "audiences": (AUDIENCE,), "algorithms": ("ES256",), **more}
    return Provider.model_validate(values)


class Rig:
    def __init__(self, http: HttpClient) -> None:
        self.clock = FakeClock()
        vouched = provider(VOUCHED, verified_by="envoy_jwt_authn", payload_in_metadata=PAYLOAD)
        compiled = compile_providers(ProvidersFile(providers=(vouched, provider(SIGNED))))
        self.keys = KeySets(http, self.clock)
        self.keys.follow(compiled)
        self.cache = ClaimsCache()
        self.gate = TokenGate(compiled, self.keys, self.cache, self.clock)

    def claims(self, **changes: Any) -> dict[str, Any]:
        return good_claims(VOUCHED, self.clock.now, **changes)

    async def send(self, token: str, payloads: dict[str, Any]) -> Any:
        told = read_claims(metadata(**payloads))
        deadline = self.clock.monotonic() + 5
        return await self.gate.authenticate(bearer_request(token, envoy_claims=told), deadline)

    async def told(self, claims: dict[str, Any], **header: Any) -> Any:
        """Send a token of which Envoy says what it says."""
        return await self.send(mint(KEY, claims, **header), {PAYLOAD: json.loads(json.dumps(claims))})


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    http = HttpClient()
    made = Rig(http)
    yield made
    await made.keys.stop()
    await http.stop()


async def test_token_that_envoy_verified_is_believed_cold_and_warm(rig: Rig):
    token, claims = mint(KEY, rig.claims(jti="a")), rig.claims(jti="a")
    for _ in range(2):
        caller = await rig.send(token, {PAYLOAD: claims})
        assert isinstance(caller, Principal)
        assert caller.token_issuer == VOUCHED
        assert caller.claims == claims
    assert rig.gate.reads_envoy_claims


async def test_warm_token_is_refused_once_envoy_no_longer_vouches(rig: Rig):
    token = mint(KEY, rig.claims())
    assert isinstance(await rig.send(token, {PAYLOAD: rig.claims()}), Principal)
    for payloads in ({}, {PAYLOAD: rig.claims(sub="another")}, {"another": rig.claims()}):
        refusal = await rig.send(token, payloads)
        assert isinstance(refusal, Deny)
        assert refusal.reason is Reason.ACCESS_TOKEN_INVALID


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param({}, id="namespace absent"),
        pytest.param({"another": "claims"}, id="another key"),
        pytest.param({PAYLOAD: "text"}, id="no object"),
        pytest.param({PAYLOAD: {}}, id="empty"),
        pytest.param({PAYLOAD: None}, id="null"),
    ],
)
async def test_bearer_token_without_envoys_word_is_an_invalid_token(rig: Rig, payloads: dict[str, Any]):
    if payloads == {"another": "claims"}:
        payloads = {"another": rig.claims()}
    refusal = await rig.send(mint(KEY, rig.claims()), payloads)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.ACCESS_TOKEN_INVALID
    assert refusal.challenge is not None
    assert refusal.challenge.error == "invalid_token"


async def test_request_without_a_token_is_told_so_whatever_the_metadata_says(rig: Rig):
    for told in ({}, read_claims(metadata(**{PAYLOAD: rig.claims()}))):
        refusal = await rig.gate.authenticate(authz_request(envoy_claims=told), rig.clock.monotonic() + 5)
        assert isinstance(refusal, Deny)
        assert refusal.reason is Reason.ACCESS_TOKEN_MISSING
        assert refusal.challenge is not None
        assert refusal.challenge.error is None


async def test_envoys_word_for_one_token_is_not_for_another(rig: Rig):
    mine = rig.claims(jti="mine", sub="me")
    for claims in (rig.claims(jti="other", sub="me"), rig.claims(jti="mine", sub="other")):
        refusal = await rig.send(mint(KEY, claims), {PAYLOAD: mine})
        assert isinstance(refusal, Deny)
        assert refusal.reason is Reason.ACCESS_TOKEN_INVALID


async def test_issuers_that_we_verify_are_never_believed_by_metadata(rig: Rig):
    claims = good_claims(SIGNED, rig.clock.now)
    outcome = await rig.send(mint(KEY, claims), {PAYLOAD: claims, "signed_claims": claims})
    assert not isinstance(outcome, Principal)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 31, "iat": NOW - 300}, Reason.ACCESS_TOKEN_EXPIRED),
        ({"nbf": NOW + 300}, Reason.ACCESS_TOKEN_INVALID),
        ({"iat": NOW + 300}, Reason.ACCESS_TOKEN_INVALID),
        ({"exp": NOW + 10 * 86_400}, Reason.ACCESS_TOKEN_INVALID),
        ({"exp": "soon"}, Reason.ACCESS_TOKEN_INVALID),
        ({"exp": None}, Reason.ACCESS_TOKEN_INVALID),
        ({"exp": True}, Reason.ACCESS_TOKEN_INVALID),
        ({"exp": 2**60}, Reason.ACCESS_TOKEN_INVALID),
        ({"aud": "https://another.example"}, Reason.ACCESS_TOKEN_AUDIENCE),
        ({"aud": [AUDIENCE, 1]}, Reason.ACCESS_TOKEN_INVALID),
        ({"iss": "https://unknown.example"}, Reason.ACCESS_TOKEN_INVALID),
        ({"sub": None}, Reason.ACCESS_TOKEN_INVALID),
        ({"cnf": {"jwk": {}}}, Reason.ACCESS_TOKEN_INVALID),
        ({"cnf": {"jkt": "A" * 43}}, Reason.TOKEN_BINDING),
    ],
)
async def test_claims_are_checked_again(rig: Rig, changes: dict[str, Any], reason: Reason):
    refusal = await rig.told(rig.claims(**changes))
    assert isinstance(refusal, Deny)
    assert refusal.reason is reason


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "logout+jwt"}, {"alg": "RS256"}, {"crit": ["exp"]}])
async def test_header_of_the_token_is_read_as_strictly_as_ever(rig: Rig, header: dict[str, Any]):
    refusal = await rig.told(rig.claims(), **header)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.ACCESS_TOKEN_INVALID


async def test_audience_may_be_a_list_and_a_date_may_have_a_fraction(rig: Rig):
    caller = await rig.told(rig.claims(aud=["https://another.example", AUDIENCE], exp=rig.clock.now + 60.5))
    assert isinstance(caller, Principal)
    assert caller.expires_at == rig.clock.now + 60.5


def test_whole_doubles_are_integers_and_others_are_exact_decimals():
    assert read_number(2.0**53 - 1) == 2**53 - 1
    assert type(read_number(1_700_000_000.0)) is int
    assert read_number(123.45) == Decimal("123.45")
    for value in (2.0**53, -(2.0**53), 1e300, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match="exact"):
            read_number(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0**60])
def test_payload_with_a_number_that_cannot_be_exact_is_absent(value: float):
    written = metadata(good={"a": 1}, bad={"deep": [{"a": 1}]})
    deep = written.filter_metadata[NAMESPACE].fields["bad"].struct_value.fields["deep"].list_value.values[0]
    deep.struct_value.fields["a"].number_value = value
    assert read_claims(written) == {"good": {"a": 1}}


def test_value_without_a_kind_and_a_deep_payload_are_absent():
    deep: Any = 1
    for _ in range(20):
        deep = {"a": deep}
    written = metadata(good={"a": [None, True, "x"]}, deep=deep, bare={"a": 1})
    written.filter_metadata[NAMESPACE].fields["bare"].struct_value.fields["a"].Clear()
    assert read_claims(written) == {"good": {"a": [None, True, "x"]}}


def test_metadata_is_read_only_where_policy_looks_there():
    message = wire.CheckRequest()
    http = message.attributes.request.http
    http.method, http.path, http.host = "GET", "/", "pay.example"
    message.attributes.metadata_context.CopyFrom(metadata(vouched={"a": 1}))
    message.attributes.metadata_context.filter_metadata["another"].fields["vouched"].string_value = "x"
    data = message.SerializeToString()
    assert parse_check_request(data).envoy_claims == {}
    assert parse_check_request(data, reads_claims=True).envoy_claims == {"vouched": {"a": 1}}


EXACT = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | EXACT | st.floats(allow_nan=True, allow_infinity=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def _is_exact(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(_is_exact(item) for item in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or (math.isfinite(value) and abs(value) < 2**53)


def _as_read(value: Any) -> Any:
    """Return what a reader of the token's JSON text would hold: decimals for fractions."""
    if isinstance(value, dict):
        return {name: _as_read(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_read(item) for item in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_claims_of_any_shape_come_back_whole_or_not_at_all(claims: dict[str, Any]):
    written = wire.Metadata()
    written.filter_metadata[NAMESPACE].update({PAYLOAD: claims})
    found = read_claims(written)
    assert found == ({PAYLOAD: _as_read(claims)} if _is_exact(claims) else {})


async def test_revoked_token_is_refused_though_envoy_vouches_for_it(rig: Rig):
    store = MemoryRevocations(SystemClock(), 1000)
    feed = RevocationFeed(store, SystemClock(), pace=FeedPace(every_seconds=0.001))
    rig.gate.revocation = RevocationRules(feed, 5.0, refuses_all_when_stale=True)
    assert isinstance(await rig.told(rig.claims(jti="a")), Unavailable)  # never read, so nobody can tell
    feed.need(is_needed=True)
    await feed.start()
    try:
        await until(lambda: feed.is_loaded)
        assert isinstance(await rig.told(rig.claims(jti="a")), Principal)
        entry = Revocation("jti", VOUCHED, "a", 0.0, forget_at(SystemClock().wall()))
        await feed.revoke([entry], SystemClock().monotonic() + 5)
        refusal = await rig.told(rig.claims(jti="a"))
    finally:
        await feed.stop()
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.TOKEN_REVOKED
