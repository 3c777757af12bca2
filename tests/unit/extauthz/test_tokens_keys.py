"""Reading a JWK set: one bad key never takes the good ones along."""

from __future__ import annotations

import json
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.tokens.keys import _SMALL_PRIMES, JwksInvalid, _is_weak_modulus, read_jwks
from helpers.issuer import SigningKey, b64

GOOD = SigningKey("ES256", kid="good")
OTHER = SigningKey("ES256", kid="other")
RSA_KEY = SigningKey("RS256", kid="rsa")
ED_KEY = SigningKey("Ed25519", kid="ed")
_BASE = prod(_SMALL_PRIMES)
ROCA_MODULUS = pow(65537, 123, _BASE) + _BASE * ((1 << 2047) // _BASE + 1)
"""What the broken generator leaves behind: a power of 65537 modulo every small prime."""


def _set(*jwks: object):
    return read_jwks(json.dumps({"keys": list(jwks)}).encode())


def test_every_kind_of_key_is_found_under_its_name():
    keys = _set(GOOD.jwk(), RSA_KEY.jwk(alg=None), ED_KEY.jwk(), SigningKey("ES384", "e3").jwk())
    assert keys.skipped == ()
    assert keys.find("good", "ES256") is not None
    assert keys.find("ed", "EdDSA") is not None
    assert keys.find("e3", "ES384") is not None
    assert all(keys.find("rsa", f"{family}{size}") for family in ("RS", "PS") for size in (256, 384, 512))
    assert keys.find("good", "ES384") is None
    assert keys.find("rsa", "ES256") is None


def test_key_that_names_an_algorithm_verifies_no_other():
    keys = _set(RSA_KEY.jwk(alg="PS256"))
    assert keys.find("rsa", "PS256") is not None
    assert keys.find("rsa", "RS256") is None


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ("text", "key is not an object"),
        ({}, "kty is not RSA, EC or OKP"),
        ({"kty": ["RSA"]}, "kty is not RSA, EC or OKP"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "symmetric key published"),
        (OTHER.jwk(d="abc"), "private key published"),
        (OTHER.jwk(use="enc"), "use is not sig"),
        (OTHER.jwk(use=5), "use is not sig"),
        (OTHER.jwk(key_ops=["encrypt"]), "key_ops without verify"),
        (OTHER.jwk(key_ops="verify"), "key_ops without verify"),
        (OTHER.jwk(kid=5), "kid is not acceptable"),
        (OTHER.jwk(kid=""), "kid is not acceptable"),
        (OTHER.jwk(kid="x" * 257), "kid is not acceptable"),
        (OTHER.jwk(alg="ES384"), "alg does not fit the key"),
        (OTHER.jwk(alg="none"), "alg does not fit the key"),
        (OTHER.jwk(alg=["ES256"]), "alg does not fit the key"),
        (RSA_KEY.jwk(alg="RSA-OAEP"), "alg does not fit the key"),
        (RSA_KEY.jwk(alg="HS256"), "alg does not fit the key"),
        (OTHER.jwk(crv="secp256k1"), "crv not accepted"),
        (OTHER.jwk(crv=["P-256"]), "crv not accepted"),
        (ED_KEY.jwk(crv="Ed448"), "crv not accepted"),
        (OTHER.jwk(x=b64(b"\x01" * 32)), "key material is invalid"),
        (OTHER.jwk(x=OTHER.jwk()["x"] + "="), "key material is invalid"),
        (OTHER.jwk(x=b64(b"\x01" * 31)), "key material is invalid"),
        (OTHER.jwk(y=None), "key material is invalid"),
        (ED_KEY.jwk(x=b64(b"\x01" * 31)), "key material is invalid"),
        (RSA_KEY.jwk(e=b64(b"\x01")), "key material is invalid"),
        (RSA_KEY.jwk(e=b64(b"\x04")), "key material is invalid"),
        (RSA_KEY.jwk(n=None), "key material is invalid"),
        (RSA_KEY.jwk(n=b64(b"\xff" * 128)), "RSA key size not accepted"),
        (RSA_KEY.jwk(e=b64(b"\xff" * 9)), "RSA key size not accepted"),
        (RSA_KEY.jwk(n=b64(b"\xff" * 1025)), "RSA key size not accepted"),
        (RSA_KEY.jwk(n=b64(ROCA_MODULUS.to_bytes(256, "big"))), "RSA modulus from a broken generator"),
    ],
)
def test_bad_key_is_skipped_and_the_good_one_stays(jwk, reason):
    keys = _set(jwk, GOOD.jwk())
    assert keys.skipped == (reason,)
    assert keys.find("good", "ES256") is not None


def test_unknown_members_are_ignored():
    assert _set(GOOD.jwk(x5c=["abc"], x5t="y", key_ops=["verify"], **{"kc-x": 1})).skipped == ()


def test_two_keys_under_one_name_are_no_name():
    keys = _set(GOOD.jwk(), OTHER.jwk(kid="good"), ED_KEY.jwk(kid="good"))
    assert keys.find("good", "ES256") is None
    assert keys.find("good", "EdDSA") is not None
    assert keys.skipped == ("two keys share a kid",)


def test_one_key_listed_twice_stays_one_key():
    assert _set(GOOD.jwk(), GOOD.jwk()).find("good", "ES256") is not None


def test_token_without_kid_finds_the_only_key_that_fits():
    assert _set(GOOD.jwk(), ED_KEY.jwk()).find(None, "ES256") is not None
    assert _set(GOOD.jwk(kid=None)).find(None, "ES256") is not None
    assert _set(GOOD.jwk(), OTHER.jwk()).find(None, "ES256") is None


def test_fingerprint_tells_whether_the_same_tokens_verify():
    one = _set(GOOD.jwk(), ED_KEY.jwk())
    assert one.fingerprint == _set(ED_KEY.jwk(), GOOD.jwk(x5t="new")).fingerprint
    assert one.fingerprint != _set(GOOD.jwk()).fingerprint
    assert one.fingerprint != _set(OTHER.jwk(kid="good"), ED_KEY.jwk()).fingerprint
    assert _set(RSA_KEY.jwk()).fingerprint != _set(RSA_KEY.jwk(alg="PS256")).fingerprint


def test_set_without_keys_is_a_set():
    assert not _set().by_name
    assert not _set(OTHER.jwk(use="enc")).by_name


@pytest.mark.parametrize("count", [100, 101])
def test_number_of_keys_is_capped(count):
    document = json.dumps({"keys": [{}] * count}).encode()
    if count <= 100:
        assert len(read_jwks(document).skipped) == count
    else:
        with pytest.raises(JwksInvalid):
            read_jwks(document)


@given(body=st.binary(max_size=100))
def test_any_bytes_are_a_set_or_invalid(body):
    with pytest.raises(JwksInvalid):
        read_jwks(body)


_members = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"])
_member_values = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "verify", "AQAB", "", 5, None, [], {}])


@given(jwks=st.lists(st.dictionaries(_members, _member_values, max_size=8) | _member_values, max_size=5))
def test_any_keys_are_skipped_not_fatal(jwks):
    assert len(_set(*jwks).skipped) == len(jwks)


def test_good_moduli_are_not_taken_for_broken_ones():
    assert not _is_weak_modulus(RSA_KEY.private.public_key().public_numbers().n)
