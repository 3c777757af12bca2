"""Opaque tokens are what their issuer says of them; whoever cannot be asked makes no verdict, and never an allow."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwk, jwt

import extauthz.introspection.asking
from chassis.ids import RandomIds
from chassis.secret_file import SecretInvalid
from extauthz.introspection.asking import MAX_QUESTIONS
from extauthz.introspection.clients import ASSERTION_TYPE, CredentialFiles
from extauthz.introspection.rules import AskingRule
from extauthz.model import Deny, Principal, Unavailable
from extauthz.payment import AMOUNT, CURRENCY
from extauthz.reasons import Reason
from helpers.asking_rig import CLIENT, KEY, OPAQUE, Rig, active, asked_provider, jwt_of, rig
from helpers.certificates import authority, client_pair, server_pair
from helpers.clock import FakeClock
from helpers.introspection import IntrospectionServer
from helpers.issuer import IssuerServer, SigningKey, mint
from policy.schema.introspection import AskIssuer
from policy.schema.providers import ProvidersFile


async def test_opaque_token_is_the_caller_its_issuer_names(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda token: active() if token == OPAQUE else {"active": False}
        caller = await gate.authenticate()
        assert isinstance(caller, Principal)
        assert (caller.token_issuer, caller.client_id, caller.scopes) == (
            gate.issuer.issuer,
            "shop-1",
            frozenset({"payments:write"}),
        )
        assert gate.endpoint.questions == [{"token": OPAQUE, "token_type_hint": "access_token"}]
        pair = b64encode(b"gate-1:s3cr%3At%2F%C3%A4").decode()
        assert gate.endpoint.authorizations == [f"Basic {pair}"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"active": False}, Reason.ACCESS_TOKEN_INVALID),
        ({"active": False, **{name: value for name, value in active().items() if name != "active"}}, None),
        (active(aud="https://another.example"), Reason.ACCESS_TOKEN_AUDIENCE),
        (active(aud=None), Reason.ACCESS_TOKEN_INVALID),
        (active(iss="https://another.example"), Reason.ACCESS_TOKEN_INVALID),
        (active(iat=1_700_000_000 - 400, exp=1_700_000_000 - 100), Reason.ACCESS_TOKEN_EXPIRED),
        (active(exp="1700000300"), Reason.ACCESS_TOKEN_INVALID),
        (active(nbf=1_700_000_000 + 100), Reason.ACCESS_TOKEN_INVALID),
        (active(sub=None), Reason.ACCESS_TOKEN_INVALID),
        (active(client_id=None), Reason.ACCESS_TOKEN_INVALID),
        (active(scope=["payments:write"]), Reason.ACCESS_TOKEN_INVALID),
        (active(cnf={"jkt": "short"}), Reason.ACCESS_TOKEN_INVALID),
        (active(cnf={"x5t#S256": "A" * 43}), Reason.TOKEN_BINDING),
        (active(cnf={"jkt": "A" * 43}), None),
    ],
)
async def test_token_that_is_not_plainly_good_is_refused(tmp_path, members, reason):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: members
        refused = await gate.authenticate()
        assert isinstance(refused, Deny)
        assert reason is None or refused.reason is reason
        assert refused.reason.spec.http_status == 401


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"{}",
        b'{"active": "true"}',
        b'{"active": 1}',
        b'{"active": true, "active": false}',
        b'{"active": true' + b" " * 70_000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"jwt": "a.b.c"}',
    ],
)
async def test_answer_that_is_none_is_no_verdict(tmp_path, said):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: said
        assert await gate.authenticate() == Unavailable(Reason.INTROSPECTION_UNAVAILABLE, "no answer in time")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 503])
async def test_endpoint_that_refuses_us_or_fails_is_no_verdict(tmp_path, status):
    async with rig(tmp_path) as gate:
        gate.endpoint.say, gate.endpoint.status = (lambda _token: active()), status
        refused = await gate.authenticate()
        assert isinstance(refused, Unavailable)
        assert refused.reason.spec.http_status == 503


async def test_another_content_type_is_no_verdict(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say, gate.endpoint.content_type = (lambda _token: active()), "text/html"
        assert isinstance(await gate.authenticate(), Unavailable)


async def test_silent_endpoint_is_waited_for_no_longer_than_policy_and_deadline_say(tmp_path):
    async with rig(tmp_path, timeout_ms=50) as gate:
        gate.endpoint.gate.clear()
        assert isinstance(await gate.authenticate(), Unavailable)
    async with rig(tmp_path) as gate:
        gate.endpoint.gate.clear()
        assert isinstance(await gate.authenticate(patience=0.05), Unavailable)


async def test_many_requests_with_one_token_ask_once_and_answers_are_kept_as_long_as_policy_says(tmp_path):
    async with rig(tmp_path, cache_seconds=10) as gate:
        gate.endpoint.say = lambda _token: active()
        callers = await asyncio.gather(*(gate.authenticate() for _ in range(20)))
        assert all(isinstance(caller, Principal) for caller in callers)
        assert len(gate.endpoint.questions) == 1
        gate.endpoint.say = lambda _token: {"active": False}
        gate.clock.advance(9.9)
        assert isinstance(await gate.authenticate(), Principal)
        gate.clock.advance(0.1)
        assert isinstance(await gate.authenticate(), Deny)
        assert len(gate.endpoint.questions) == 2


async def test_kept_answer_never_outlives_exp_nor_a_failure_of_the_endpoint(tmp_path):
    async with rig(tmp_path, cache_seconds=300) as gate:
        gate.endpoint.say = lambda _token: active(exp=1_700_000_000 + 20)
        assert isinstance(await gate.authenticate(), Principal)
        gate.clock.advance(19.9)
        assert isinstance(await gate.authenticate(), Principal)
        assert len(gate.endpoint.questions) == 1
        gate.clock.advance(0.1)
        gate.endpoint.say = lambda _token: {"active": False}
        assert isinstance(await gate.authenticate(), Deny)  # leeway is for clocks, not for answers of before
        gate.clock.advance(31)
        gate.endpoint.say = lambda _token: active(exp=1_700_000_000 + 20)
        refused = await gate.authenticate("another-token")
        assert isinstance(refused, Deny)
        assert refused.reason is Reason.ACCESS_TOKEN_EXPIRED
    async with rig(tmp_path, cache_seconds=0) as gate:
        gate.endpoint.say = lambda _token: active()
        assert isinstance(await gate.authenticate(), Principal)
        gate.endpoint.status = 500
        assert isinstance(await gate.authenticate(), Unavailable)


async def test_flood_of_unknown_tokens_does_not_become_one_at_the_issuer(tmp_path):
    async with rig(tmp_path) as gate:
        gate.gate.failures_per_minute = 5
        answers = [await gate.authenticate(f"guess-{number}") for number in range(8)]
        assert [answer.reason for answer in answers[5:]] == [Reason.AUTHENTICATION_FAILURES] * 3
        assert len(gate.endpoint.questions) == 5


async def test_long_replies_are_kept_up_to_a_bound_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(extauthz.introspection.asking, "MAX_ANSWER_BYTES", 150_000)
    async with rig(tmp_path, cache_seconds=300) as gate:
        gate.endpoint.say = lambda _token: active(padding="x" * 60_000)
        for token in ("t1", "t2", "t3", "t3"):
            assert isinstance(await gate.authenticate(token), Principal)
        assert len(gate.endpoint.questions) == 3
        assert isinstance(await gate.authenticate("t2"), Principal)
        assert len(gate.endpoint.questions) == 3
        assert isinstance(await gate.authenticate("t1"), Principal)
        assert len(gate.endpoint.questions) == 4


async def test_no_more_than_the_bound_are_asked_at_once(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.gate.clear()
        waiting = [asyncio.create_task(gate.authenticate(f"t{number}")) for number in range(MAX_QUESTIONS)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = await gate.authenticate("one-more")
        assert refused == Unavailable(Reason.INTROSPECTION_UNAVAILABLE, "too many questions at once")
        gate.endpoint.gate.set()
        assert all(isinstance(answer, Deny | Unavailable) for answer in await asyncio.gather(*waiting))


async def test_prefix_tells_whose_an_opaque_token_is_and_a_jwt_is_shown_to_nobody(tmp_path):
    async with rig(tmp_path, token_prefix="opaque-") as gate:
        gate.endpoint.say = lambda _token: active()
        assert isinstance(await gate.authenticate(), Principal)
        assert isinstance(await gate.authenticate("other-0123456789"), Deny)
        assert isinstance(await gate.authenticate("opaque-a.b.c"), Principal)
        assert len(gate.endpoint.questions) == 2
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active()
        assert isinstance(await gate.authenticate(jwt_of(gate)), Principal)
        assert isinstance(await gate.authenticate(f"{jwt_of(gate)}.x.y"), Deny)
        assert gate.endpoint.questions == []


async def test_word_of_now_refuses_a_jwt_that_is_good_by_itself(tmp_path):
    async with rig(tmp_path, cache_seconds=300) as gate:
        gate.endpoint.say = lambda _token: active(iat=None, jti="token-1")
        assert await gate.confirm(jwt_of(gate)) is None
        gate.endpoint.say = lambda _token: {"active": False}
        gate.clock.advance(2.0)
        assert isinstance(await gate.confirm(jwt_of(gate)), Deny)


@pytest.mark.parametrize(
    "other",
    [
        {"sub": "x"},
        {"client_id": "x"},
        {"jti": "x"},
        {"iss": "https://x.example"},
        {"aud": "https://x.example"},
        {"aud": 7},
        {"cnf": {"jkt": "A" * 43}},
        {"cnf": None, "token_type": "DPoP"},
        {"exp": 1_700_000_000 - 31},
        {"exp": "soon"},
        {"scope": ["payments:write"]},
    ],
    ids=str,
)
async def test_word_about_another_token_confirms_nothing(tmp_path, other):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: active(**{"jti": "token-1", **other})
        assert isinstance(await gate.confirm(jwt_of(gate)), Deny)


async def test_word_about_fewer_scopes_refuses_what_needs_them(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: {"active": True, "scope": "accounts:read payments:read"}
        token = jwt_of(gate, scope="payments:write payments:read")
        refused = await gate.confirm(token, "payments:write")
        assert isinstance(refused, Deny)
        assert refused.reason is Reason.SCOPE_INSUFFICIENT
        assert await gate.confirm(token, "payments:read") is None


async def test_word_that_cannot_be_had_is_no_verdict(tmp_path):
    async with rig(tmp_path) as gate:
        gate.endpoint.status = 500
        assert isinstance(await gate.confirm(jwt_of(gate)), Unavailable)


@pytest.mark.parametrize(
    ("payment", "asks"),
    [
        ({AMOUNT: 1000, CURRENCY: "EUR"}, False),
        ({AMOUNT: 1001, CURRENCY: "EUR"}, True),
        ({AMOUNT: 1, CURRENCY: "USD"}, True),
        ({CURRENCY: "EUR"}, True),
        ({AMOUNT: "1", CURRENCY: "EUR"}, True),
        ({}, True),
    ],
)
def test_issuer_is_asked_unless_the_payment_is_plainly_below_the_amount(payment, asks):
    rule = AskingRule.compile(AskIssuer(when="above", amount=1000, currency="EUR"))
    assert rule is not None
    assert rule.applies(payment) is asks
    assert AskingRule(None, None).applies(payment)
    assert AskingRule.compile(None) is None


def signed(gate: Rig, key: SigningKey, reply: dict[str, Any], **changes: Any) -> bytes:
    """Return a signed reply (RFC 9701 section 5); a change of None takes a claim off."""
    header = {"typ": changes.pop("typ", "token-introspection+jwt")}
    claims = {"iss": gate.issuer.issuer, "aud": CLIENT, "iat": int(gate.clock.now), "token_introspection": reply}
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return mint(key, kept, **header).encode()


@asynccontextmanager
async def signed_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    endpoint = IntrospectionServer(content_type="application/token-introspection+jwt")
    async with rig(tmp_path, endpoint=endpoint, reply="jwt") as gate:
        yield gate


async def test_signed_reply_of_the_right_issuer_and_audience_is_believed(tmp_path):
    async with signed_rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: signed(gate, KEY, active())
        assert isinstance(await gate.authenticate(), Principal)


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "at+jwt"},
        {"typ": "JWT"},
        {"iss": "https://another.example"},
        {"aud": "another-client"},
        {"aud": None},
        {"iat": 1_700_000_000 - 3600},
        {"iat": 1_700_000_000 + 3600},
        {"iat": None},
        {"token_introspection": None},
        {"token_introspection": "active"},
    ],
    ids=str,
)
async def test_signed_reply_that_is_not_about_us_and_now_is_no_verdict(tmp_path, changes):
    async with signed_rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: signed(gate, KEY, active(), **dict(changes))
        assert isinstance(await gate.authenticate(), Unavailable)


async def test_signed_reply_under_another_key_or_unsigned_is_no_verdict(tmp_path):
    async with signed_rig(tmp_path) as gate:
        gate.endpoint.say = lambda _token: signed(gate, SigningKey("ES256"), active())
        assert isinstance(await gate.authenticate(), Unavailable)
        gate.endpoint.say = lambda _token: active()
        assert isinstance(await gate.authenticate("another"), Unavailable)
        gate.endpoint.content_type = "application/json"
        assert isinstance(await gate.authenticate("a-third"), Unavailable)


async def test_signed_reply_is_no_access_token(tmp_path):
    async with signed_rig(tmp_path) as gate:
        shown = signed(gate, KEY, active()).decode()
        assert isinstance(await gate.authenticate(shown), Deny)
        assert gate.endpoint.questions == []


async def test_secret_in_the_form_where_policy_says_so(tmp_path):
    async with rig(tmp_path, authentication="client_secret_post") as gate:
        gate.endpoint.say = lambda _token: active()
        assert isinstance(await gate.authenticate(), Principal)
        (question,) = gate.endpoint.questions
        assert (question["client_id"], question["client_secret"]) == (CLIENT, "s3cr:t/ä")
        assert gate.endpoint.authorizations == [None]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("alg", ["ES256", "PS256", "EdDSA"])
async def test_assertion_signed_with_our_key_says_who_asks(tmp_path, alg):
    key = SigningKey(alg)
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "main.key").write_bytes(pem)
    async with rig(tmp_path, authentication="private_key_jwt") as gate:
        gate.endpoint.say = lambda _token: active()
        for token in ("one-token", "two-token"):
            assert isinstance(await gate.authenticate(token), Principal)
        first, second = gate.endpoint.questions
        assert first["client_assertion_type"] == ASSERTION_TYPE
        public = jwk.import_key(key.jwk(alg=None, use=None, kid=None))
        read = jwt.decode(first["client_assertion"], public, algorithms=[alg]).claims
        assert (read["iss"], read["sub"], read["aud"]) == (CLIENT, CLIENT, gate.issuer.issuer)
        assert read["exp"] - read["iat"] == 60
        assert read["jti"] != jwt.decode(second["client_assertion"], public, algorithms=[alg]).claims["jti"]


async def test_certificate_says_who_asks_and_the_server_is_checked(tmp_path, monkeypatch):
    signer, stranger = authority(), authority("two")
    mine = client_pair(signer, "gate-1.example")
    (tmp_path / "main.crt").write_bytes(mine.certificate)
    (tmp_path / "main.key").write_bytes(mine.private_key)
    (tmp_path / "ca.pem").write_bytes(signer.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for issuer_of_server, kind in ((signer, Principal), (stranger, Unavailable)):
        endpoint = IntrospectionServer(tls=_server_context(tmp_path, issuer_of_server, signer))
        async with rig(tmp_path, endpoint=endpoint, authentication="tls_client_auth") as gate:
            gate.endpoint.say = lambda _token: active()
            assert isinstance(await gate.authenticate(), kind)
            if kind is Principal:
                assert gate.endpoint.questions[0]["client_id"] == CLIENT
                assert ("DNS", "gate-1.example") in gate.endpoint.certificates[0]["subjectAltName"]


def _server_context(tmp_path: Path, signer: Any, clients: Any) -> ssl.SSLContext:
    pair = server_pair(signer)
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.mark.parametrize(
    ("authentication", "files"),
    [
        ("client_secret_basic", {}),
        ("client_secret_basic", {"main.secret": b""}),
        ("client_secret_post", {"main.secret": b"x9-content\nlines\n"}),
        ("private_key_jwt", {"main.key": b"x9-content"}),
        ("tls_client_auth", {"main.crt": b"x9-content", "main.key": b"x9-content"}),
    ],
)
def test_credentials_that_cannot_be_used_are_named_and_not_quoted(tmp_path, authentication, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    policy = (
        ProvidersFile.model_validate(
            {
                "providers": [
                    asked_provider(
                        IssuerServer(url="http://x"),
                        IntrospectionServer(url="http://x/i"),
                        {"authentication": authentication},
                    )
                ]
            }
        )
        .providers[0]
        .introspection
    )
    with pytest.raises(SecretInvalid) as caught:
        CredentialFiles(str(tmp_path)).client("main", "http://x", policy)
    assert str(tmp_path) in str(caught.value)
    assert "x9-content" not in str(caught.value)


def test_secrets_stand_in_no_repr(tmp_path):
    (tmp_path / "main.secret").write_text("s3cret")
    file = ProvidersFile.model_validate(
        {"providers": [asked_provider(IssuerServer(url="http://x"), IntrospectionServer(url="http://x/i"), {})]}
    )
    client = CredentialFiles(str(tmp_path)).client("main", "http://x", file.providers[0].introspection)
    form = client.form(OPAQUE, "application/json", FakeClock(), RandomIds())
    assert "s3cret" not in repr(client)
    assert OPAQUE not in repr(form)
