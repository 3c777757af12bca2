"""Builders of the cases on the text and the signature of a token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from extauthz.tokens.jose import decode_base64url
from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer
from helpers.cases.rig import CaseRig, Key
from helpers.issuer import SigningKey, b64, mint

Requests = AsyncIterator[Request | Before]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@builds("J01")
async def good_token(rig: CaseRig) -> Requests:
    yield bearer(rig.token())


@builds("J02")
async def rsa_pss_token(rig: CaseRig) -> Requests:
    yield bearer(rig.token(rig.keys["PS256"]))


@builds("J03")
async def both_names_of_one_algorithm(rig: CaseRig) -> Requests:
    key = rig.keys["Ed25519"]
    for name in ("Ed25519", "EdDSA"):
        yield bearer(key.seal(_json(key.header(alg=name)), _json(rig.claims())))


@builds("J05")
async def no_algorithm(rig: CaseRig) -> Requests:
    for alg in ("nOnE", "none", "None"):
        signed = f"{b64(_json(rig.key.header(alg=alg)))}.{b64(_json(rig.claims()))}"
        yield bearer(f"{signed}.{b64(rig.key.sign(signed))}")
        yield bearer(f"{signed}.")


@builds("J10")
async def key_in_the_header(rig: CaseRig) -> Requests:
    stranger = Key()
    yield bearer(stranger.mint(rig.claims(), jwk=stranger.key.as_dict(private=False)))


@builds("J15")
async def extension_nobody_knows(rig: CaseRig) -> Requests:
    yield bearer(rig.key.seal(_json(rig.key.header(crit=["x"], x=1)), _json(rig.claims())))


@builds("J19", "J20")
async def encrypted_token(rig: CaseRig) -> Requests:
    for header in (
        {"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "typ": "at+jwt", "kid": "k1"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_000_000_000, "p2s": b64(b"salt"), "typ": "at+jwt"},
    ):
        yield bearer(".".join(b64(part) for part in (_json(header), b"key", b"iv", b"text", b"tag")))


@builds("J21")
async def json_serialization(rig: CaseRig) -> Requests:
    header, claims, signature = rig.token().split(".")
    yield bearer(b64(_json({"protected": header, "payload": claims, "signature": signature})))


@builds("J22")
async def nested_token(rig: CaseRig) -> Requests:
    inner = rig.token().encode()
    unsigned = {"alg": "none", "typ": "at+jwt", "cty": "JWT"}
    yield bearer(f"{b64(_json(unsigned))}.{b64(inner)}.")
    stranger = Key()
    yield bearer(stranger.seal(_json(stranger.header(cty="JWT")), inner))


@builds("J23")
async def algorithm_twice(rig: CaseRig) -> Requests:
    yield bearer(rig.key.seal(b'{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"k1"}', _json(rig.claims())))


@builds("J25")
async def padded_parts(rig: CaseRig) -> Requests:
    header, claims, signature = rig.token().split(".")
    for parts in (
        (header + "=", claims, signature),
        (header, claims + "=", signature),
        (header, claims, signature + "=="),
    ):
        yield bearer(".".join(parts))


@builds("J26")
async def other_text_of_the_signature(rig: CaseRig) -> Requests:
    token = rig.token()
    yield bearer(token[:-1] + ALPHABET[ALPHABET.index(token[-1]) + 1])


@builds("J28")
async def der_signature(rig: CaseRig) -> Requests:
    key = SigningKey("ES256", private=rig.key.key.private_key)
    signed = rig.token().rsplit(".", 1)[0]
    yield bearer(f"{signed}.{b64(key.sign_der(signed.encode()))}")


@builds("J29")
async def other_encodings(rig: CaseRig) -> Requests:
    text = json.dumps(rig.claims())
    for raw in (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode()):
        yield bearer(rig.key.seal(_json(rig.key.header()), raw))


@builds("J30")
async def claims_that_exhaust_a_reader(rig: CaseRig) -> Requests:
    text = json.dumps(rig.claims())[:-1].encode()
    # The deep one is cut to the size that is read at all; in full length the size alone refuses it.
    for extra in (b"[" * 100_000 + b"]" * 100_000, b"[" * 2000 + b"]" * 2000, b"9" * 5000, b"NaN"):
        yield bearer(rig.key.seal(_json(rig.key.header()), text + b', "x": ' + extra + b"}"))
    yield Before(bearer(rig.token()))


@builds("J31", needs_own_rig=True)
async def short_rsa_key(rig: CaseRig) -> Requests:
    weak = SigningKey("PS256", kid="weak", bits=1024)
    rig.publish(rig.key, weak.jwk())
    rig.clock.advance(601)
    yield Before(bearer(rig.token()))
    yield bearer(mint(weak, rig.claims()))


def flipped(token: str) -> str:
    """Return the token with its ECDSA signature (r, s) as (r, n-s), which verifies too."""
    head, _, text = token.rpartition(".")
    raw = decode_base64url(text)
    assert raw is not None
    return f"{head}.{b64(raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], 'big')).to_bytes(32, 'big'))}"


@builds("jwt-malformed")
async def two_parts(rig: CaseRig) -> Requests:
    yield bearer("aaa.bbb")


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
