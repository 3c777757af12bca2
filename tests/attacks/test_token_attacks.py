"""One test a known attack on bearer tokens; each has the allowed twin of the first test.

Sources: RFC 8725 and its successor draft, the advisories named in the ids, FAPI 2.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from extauthz.model import Deny, Principal, Unavailable
from extauthz.reasons import Reason
from helpers.issuer import AUDIENCE, SigningKey, b64, good_claims, good_header, mint, mint_raw
from helpers.requests import authz_request, bearer_request
from helpers.token_rig import TokenRig, token_rig

KEY = SigningKey("ES256")
RSA_KEY = SigningKey("RS256", kid="rsa")
STRANGER = SigningKey("ES256")
WEAK = SigningKey("RS256", kid="weak", bits=1024)


@pytest.fixture
async def rig() -> AsyncIterator[TokenRig]:
    async with token_rig(KEY) as made:
        made.server.keys = [KEY, RSA_KEY]
        yield made


async def _refused(rig: TokenRig, token: str, reason: Reason = Reason.ACCESS_TOKEN_INVALID) -> Deny:
    twin = await rig.authenticate(rig.token(jti="allowed-twin"))
    assert isinstance(twin, Principal), "the allowed twin must pass, else a refusal proves nothing"
    decision = await rig.authenticate(token)
    assert isinstance(decision, Deny)
    assert decision.reason is reason
    assert decision.challenge is not None
    assert decision.challenge.error == "invalid_token"
    return decision


def _claims(rig: TokenRig, **overrides: object) -> dict[str, object]:
    return good_claims(rig.server.issuer, rig.clock.now, **overrides)


def _hmac_token(rig: TokenRig, secret: bytes, kid: str) -> str:
    header = {"typ": "at+jwt", "alg": "HS256", "kid": kid}
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(_claims(rig)).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", ""])
async def test_alg_none_never_verifies(rig, alg):
    header = json.dumps({"typ": "at+jwt", "alg": alg, "kid": "k1"}).encode()
    signed = f"{b64(header)}.{b64(json.dumps(_claims(rig)).encode())}"
    await _refused(rig, f"{signed}.")
    await _refused(rig, f"{signed}.{b64(b'x' * 64)}")


async def test_public_rsa_key_is_no_hmac_secret(rig):
    for encoding in (Encoding.PEM, Encoding.DER):
        secret = RSA_KEY.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        await _refused(rig, _hmac_token(rig, secret, "rsa"))


async def test_public_jwk_text_is_no_hmac_secret_cve_2026_48526(rig):
    await _refused(rig, _hmac_token(rig, json.dumps(KEY.jwk()).encode(), "k1"))


async def test_published_symmetric_key_never_verifies(rig):
    rig.server.keys = [KEY, {"kty": "oct", "kid": "shared", "k": b64(b"s" * 32), "alg": "HS256"}]
    await _refused(rig, _hmac_token(rig, b"s" * 32, "shared"))


async def test_embedded_jwk_is_not_trusted_cve_2026_27962(rig):
    await _refused(rig, mint(STRANGER, _claims(rig), jwk=STRANGER.jwk()))
    await _refused(rig, mint(STRANGER, _claims(rig), jwk=STRANGER.jwk(), kid=None, alg="ES256"))


@pytest.mark.parametrize("parameter", ["jku", "x5u"])
async def test_key_address_in_the_header_is_never_fetched(rig, parameter):
    await _refused(rig, mint(STRANGER, _claims(rig), **{parameter: f"{rig.server.url}/attacker"}))
    assert (rig.server.metadata_fetches, rig.server.jwks_fetches) == (1, 1)


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "*)(uid=*", "x" * 4096, "", 5, ["k1"]])
async def test_kid_is_only_ever_a_name(rig, kid):
    await _refused(rig, mint(KEY, _claims(rig), kid=kid))


@pytest.mark.parametrize("crit", [["x"], [], ["b64"], ["alg"], "x"])
async def test_crit_is_refused_cve_2026_32597(rig, crit):
    await _refused(rig, mint(KEY, _claims(rig), crit=crit, x=1))


@pytest.mark.parametrize("member", ["crit", "kid", "cty", "b64", "zip"])
async def test_header_member_that_is_null_is_there_all_the_same(rig, member):
    header = json.dumps({**good_header(KEY), member: None}).encode()
    await _refused(rig, mint_raw(KEY, header, json.dumps(_claims(rig)).encode()))


@pytest.mark.parametrize("member", ["cnf", "nbf", "scope"])
async def test_claim_that_is_null_is_there_all_the_same(rig, member):
    claims = json.dumps({**_claims(rig), member: None}).encode()
    await _refused(rig, mint_raw(KEY, json.dumps(good_header(KEY)).encode(), claims))


@pytest.mark.parametrize("b64_parameter", [True, False])
async def test_unencoded_payload_is_refused(rig, b64_parameter):
    await _refused(rig, mint(KEY, _claims(rig), b64=b64_parameter))


async def test_oversized_token_is_refused_by_length_cve_2025_61920(rig):
    token = rig.token(padding="x" * 10_000_000)
    assert (await _refused(rig, token)).detail == "token too long"


async def test_oversized_header_is_refused_before_it_is_read(rig):
    assert (await _refused(rig, mint(KEY, _claims(rig), x="y" * 4000))).detail == "part too long"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "typ": "at+jwt"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_000_000_000, "typ": "at+jwt"},
        {"alg": "dir", "enc": "A128GCM", "typ": "at+jwt"},
    ],
    ids=["zip bomb", "p2c bomb", "direct"],
)
async def test_encrypted_token_is_refused_undecrypted(rig, header):
    first = b64(json.dumps(header).encode())
    await _refused(rig, f"{first}.{b64(b'key')}.{b64(b'iv')}.{b64(b'text')}.{b64(b'tag')}")
    await _refused(rig, f"{first}.{b64(b'key')}.{b64(b'iv')}")


async def test_json_serialization_is_refused(rig):
    header, claims, signature = rig.token().split(".")
    flattened = json.dumps({"protected": header, "payload": claims, "signature": signature}).encode()
    await _refused(rig, b64(flattened))
    await _refused(rig, f"{b64(flattened)}.{claims}.{signature}")


async def test_nested_token_is_refused(rig):
    inner = rig.token()
    await _refused(rig, mint_raw(STRANGER, json.dumps(good_header(STRANGER, cty="JWT")).encode(), inner.encode()))
    await _refused(rig, mint(KEY, _claims(rig), cty="JWT"))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"k1"}',
        b'{"alg":"ES256","typ":"at+jwt","typ":"at+jwt","kid":"k1"}',
        b'{"al\\u0067":"ES256","alg":"ES256","typ":"at+jwt","kid":"k1"}',
    ],
)
async def test_duplicate_header_member_is_refused(rig, header):
    await _refused(rig, mint_raw(KEY, header, json.dumps(_claims(rig)).encode()))


async def test_duplicate_claim_is_refused(rig):
    claims = json.dumps(_claims(rig))[:-1] + ', "sub": "somebody-else"}'
    await _refused(rig, mint_raw(KEY, json.dumps(good_header(KEY)).encode(), claims.encode()))


def _encodings(text: str) -> dict[str, bytes]:
    return {
        "UTF-16": text.encode("utf-16"),
        "UTF-8 with byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "UTF-32": text.encode("utf-32"),
        "Latin-1": text.replace("token-1", "t\xf6ken").encode("latin-1"),
        "lone surrogate": text.replace("token-1", "\\ud800").encode(),
        "NaN": text[:-1].encode() + b', "x": NaN}',
        "Infinity": text[:-1].encode() + b', "x": -Infinity}',
        "huge integer": text[:-1].encode() + b', "x": ' + b"9" * 5000 + b"}",
        "deep nesting": text[:-1].encode() + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        "trailing data": text.encode() + b"{}",
        "an array": b"[" + text.encode() + b"]",
        "empty": b"",
    }


@pytest.mark.parametrize("name", list(_encodings("{}")))
async def test_claims_that_two_readers_could_read_differently_are_refused(rig, name):
    raw = _encodings(json.dumps(_claims(rig)))[name]
    await _refused(rig, mint_raw(KEY, json.dumps(good_header(KEY)).encode(), raw))


@pytest.mark.parametrize("signature", [b"\0" * 64, b"", b"\0" * 63, b"\xff" * 64], ids=["0,0", "empty", "short", "max"])
async def test_psychic_signature_is_refused_cve_2022_21449(rig, signature):
    await _refused(rig, rig.token().rsplit(".", 1)[0] + "." + b64(signature))


async def test_der_signature_is_refused(rig):
    signed = rig.token().rsplit(".", 1)[0]
    await _refused(rig, f"{signed}.{b64(KEY.sign_der(signed.encode()))}")


async def test_other_text_for_the_same_bytes_is_refused(rig):
    header, claims, signature = rig.token().split(".")
    padded = claims + "=" * (-len(claims) % 4 or 4)
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + alphabet[alphabet.index(last) + 1]
    for token in (
        f"{header}.{padded}.{signature}",
        f"{header}.{claims}.{signature}==",
        f"{header}.{claims}.{twin}",
        f"{header}.{claims}.{signature}.",
        f".{header}.{claims}.{signature}",
        f"{header}..{signature}",
        f"{header}.{claims}",
    ):
        await _refused(rig, token)


async def test_standard_alphabet_is_refused(rig):
    for number in range(200):
        token = rig.token(jti=f"t-{number}")
        head, signature = token.rsplit(".", 1)
        if "-" in signature or "_" in signature:
            await _refused(rig, head + "." + signature.replace("-", "+").replace("_", "/"))
            return
    pytest.fail("no signature with a character of the URL alphabet")


async def test_weak_rsa_key_never_verifies(rig):
    rig.server.keys = [KEY, WEAK]
    await _refused(rig, rig.token(WEAK))


async def test_weak_rsa_key_alone_in_the_set_is_denied_not_unavailable():
    async with token_rig(WEAK) as made:
        assert isinstance(await made.authenticate(made.token()), Deny)


async def test_key_for_encryption_never_verifies(rig):
    rig.server.keys = [KEY, STRANGER.jwk(kid="enc", use="enc"), STRANGER.jwk(kid="ops", use=None, key_ops=["encrypt"])]
    for kid in ("enc", "ops"):
        await _refused(rig, mint(STRANGER, _claims(rig), kid=kid))


async def test_one_key_verifies_one_algorithm(rig):
    other = SigningKey("PS256", kid="rsa", private=RSA_KEY.private)
    await _refused(rig, rig.token(other))


async def test_algorithm_outside_the_list_is_refused(rig):
    rig.reload(algorithms=("ES256",))
    await _refused(rig, rig.token(RSA_KEY))


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", None, "logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt"]
)
async def test_other_kinds_of_tokens_are_no_access_tokens(rig, typ):
    await _refused(rig, mint(KEY, _claims(rig), typ=typ))


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "n"},
        {"at_hash": "h"},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": "Logout"},
        {"scope": None},
        {"token_introspection": {"active": True}},
    ],
    ids=lambda claims: next(iter(claims)) + ":" + str(next(iter(claims.values()))),
)
async def test_id_token_is_no_access_token_where_plain_jwt_is_accepted(rig, claims):
    rig.reload(typ=("JWT", "at+jwt"))
    assert isinstance(await rig.authenticate(mint(KEY, _claims(rig, typ="Bearer"), typ="JWT")), Principal)
    await _refused(rig, mint(KEY, _claims(rig, **claims), typ="JWT"))


async def test_token_of_another_issuer_signed_with_our_issuers_kid_is_refused(rig):
    await _refused(rig, rig.token(STRANGER))
    await _refused(rig, mint(STRANGER, good_claims("https://evil.test", rig.clock.now)))


@pytest.mark.parametrize("change", [lambda url: url + "/", str.upper, lambda url: url[:-1], lambda url: [url]])
async def test_issuer_is_compared_exactly(rig, change):
    await _refused(rig, mint(KEY, _claims(rig, iss=change(rig.server.issuer))))


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        ("https://other.test", Reason.ACCESS_TOKEN_AUDIENCE),
        (AUDIENCE + ".evil.test", Reason.ACCESS_TOKEN_AUDIENCE),
        (AUDIENCE + "/", Reason.ACCESS_TOKEN_AUDIENCE),
        ([], Reason.ACCESS_TOKEN_AUDIENCE),
        (None, Reason.ACCESS_TOKEN_INVALID),
        ([AUDIENCE, 1], Reason.ACCESS_TOKEN_INVALID),
        ({AUDIENCE: True}, Reason.ACCESS_TOKEN_INVALID),
    ],
)
async def test_audience_is_compared_exactly(rig, audience, reason):
    await _refused(rig, rig.token(aud=audience), reason)


async def test_malleated_signature_verifies_but_names_the_same_token(rig):
    """ECDSA (r, n-s) also verifies: nothing may be keyed by token text but a cache of verified claims."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = rig.token()
    head, signature = token.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    first = await rig.authenticate(token)
    second = await rig.authenticate(f"{head}.{b64(flipped)}")
    assert isinstance(first, Principal)
    assert first == second


async def test_sender_constrained_token_without_checked_proof_is_refused(rig):
    for cnf in ({"jkt": "x"}, {"x5t#S256": "x"}, {}, [], ""):
        await _refused(rig, rig.token(cnf=cnf))


async def test_token_that_calls_itself_a_dpop_token_and_names_no_key_is_no_bearer_token(rig):
    for kind in ({"typ": "DPoP"}, {"token_type": "DPoP"}, {"typ": "dpop", "cnf": {"x5t#S256": "A" * 43}}):
        await _refused(rig, rig.token(**kind))


async def test_token_in_query_or_form_or_repeated_header_is_refused(rig):
    token = rig.token()
    form = {"authorization": f"Bearer {token}", "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    for request in (
        bearer_request(token, path=f"/v1/payments?access_token={token}"),
        bearer_request(token, path="/v1/payments?x=1&access%5Ftoken=y"),
        authz_request(path=f"/v1/payments?access_token={token}"),
        bearer_request(token, headers=form, body=b"amount=1&access_token=x"),
        bearer_request(token, headers={"authorization": f"Bearer {token},DPoP {token}"}),
        bearer_request(token, headers={"authorization": f"Bearer {token} {token}"}),
        bearer_request(token, headers={"authorization": "Bearer"}),
    ):
        decision = await rig.gate.authenticate(request, rig.clock.monotonic() + 5)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.ACCESS_TOKEN_PRESENTATION
        assert decision.challenge is not None
        assert decision.challenge.error == "invalid_request"
    assert isinstance(await rig.authenticate(token), Principal)


async def test_flood_of_bad_tokens_leaves_nothing_behind(rig):
    await rig.authenticate(rig.token())
    head = rig.token(jti="flood").rsplit(".", 1)[0]
    for number in range(300):
        assert isinstance(await rig.authenticate(f"{head}.{b64(number.to_bytes(64, 'big'))}"), Deny)
    assert len(rig.cache) == 1


async def test_our_own_fault_is_never_a_401(rig):
    assert isinstance(await rig.authenticate(rig.token()), Principal)
    rig.reload(issuer="http://127.0.0.1:9")
    decision = await rig.authenticate(mint(KEY, good_claims("http://127.0.0.1:9", rig.clock.now)))
    assert isinstance(decision, Unavailable)
