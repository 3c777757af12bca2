"""The cache of verified claims: bounded, and its entries belong to rules and keys."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.claims import VerifiedToken, read_verified
from helpers.issuer import NOW, good_claims
from helpers.token_rig import providers

ISSUER = "https://as.example.test"
PROVIDER = providers(ISSUER)[0]


def _token(client: str = "shop-1") -> VerifiedToken:
    token = read_verified(good_claims(ISSUER, NOW, client_id=client), "at+jwt", PROVIDER, NOW)
    assert isinstance(token, VerifiedToken)
    return token


def _digest(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def _put(cache: ClaimsCache, number: int, client: str = "shop-1", characters: int = 500) -> None:
    cache.put(_digest(number), _token(client), provider=PROVIDER, generation=1, characters=characters)


def test_entry_belongs_to_equal_provider_and_same_generation():
    cache = ClaimsCache()
    _put(cache, 1)
    entry = cache.get(_digest(1))
    assert entry is not None
    assert entry.belongs_to(PROVIDER, 1)
    assert entry.belongs_to(providers(ISSUER)[0], 1)
    assert not entry.belongs_to(PROVIDER, 2)
    assert not entry.belongs_to(PROVIDER, None)
    assert not entry.belongs_to(providers(ISSUER, leeway_seconds=0)[0], 1)


def test_client_with_many_tokens_pushes_out_only_its_own():
    cache = ClaimsCache(max_per_client=10)
    _put(cache, 0, client="quiet")
    for number in range(1, 100):
        _put(cache, number, client="loud")
    assert len(cache) == 11
    assert cache.get(_digest(0)) is not None
    assert cache.get(_digest(99)) is not None
    assert cache.get(_digest(1)) is None


def test_bytes_are_bounded_and_the_longest_unused_goes_first():
    cache = ClaimsCache(max_bytes=60_000)
    for number in range(9):
        _put(cache, number, client=f"shop-{number}")
    assert cache.get(_digest(0)) is not None
    _put(cache, 100, client="big", characters=2000)
    assert cache.size <= 60_000
    assert cache.get(_digest(0)) is not None
    assert cache.get(_digest(1)) is None


def test_token_larger_than_the_cache_is_not_kept():
    cache = ClaimsCache(max_bytes=1000)
    _put(cache, 1)
    assert (len(cache), cache.size) == (0, 0)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "discard"]), st.integers(0, 12), st.integers(0, 3)), max_size=60
    )
)
def test_bookkeeping_agrees_with_the_entries_after_any_steps(steps):
    cache = ClaimsCache(max_bytes=40_000, max_per_client=3)
    for step, number, client in steps:
        if step == "put":
            _put(cache, number, client=f"shop-{client}")
        elif step == "get":
            cache.get(_digest(number))
        else:
            cache.discard(_digest(number))
        assert cache.size == sum(entry.size for entry in cache._entries.values()) <= 40_000
        assert sorted(digest for own in cache._clients.values() for digest in own) == sorted(cache._entries)
        assert all(0 < len(own) <= 3 for own in cache._clients.values())
