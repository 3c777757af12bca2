"""Names of counters: no two paths share one by default, and envoyproxy/ratelimit's own text under compat."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.store_cluster import slot_of
from policy.card_keys import CardSecret
from ratelimit.descriptors.match import bounded_key, plain_key, typed_key
from ratelimit.ledger import MAX_TEXT_BYTES

TEXTS = st.text(alphabet="ab_:1*é", max_size=5)
PATHS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3).map(tuple)


@given(TEXTS, PATHS, TEXTS, PATHS)
def test_two_paths_never_share_a_counter(domain, path, other_domain, other_path):
    is_same = (domain, path) == (other_domain, other_path)
    key, other = typed_key(domain, path, "hour", 3600), typed_key(other_domain, other_path, "hour", 3600)
    assert (key == other) is is_same


def test_all_counters_of_a_domain_lie_in_one_slot():
    keys = [typed_key("d", (("k", value),), "hour", 0) for value in ("a", "}{x}", "x" * 900)]
    assert len({slot_of(key) for key in keys}) == 1


def test_windows_that_begin_together_do_not_share_a_counter():
    assert typed_key("d", (("k", "v"),), "hour", 0) != typed_key("d", (("k", "v"),), "day", 0)


@pytest.mark.parametrize(
    ("path", "start", "key"),
    [
        ((("key", "value"),), 1234, "domain_key_value_1234"),
        ((("key2", "value2"), ("subkey2", "subvalue2")), 1200, "domain_key2_value2_subkey2_subvalue2_1200"),
    ],
)
def test_compat_names_a_counter_as_envoyproxy_ratelimit_does(path, start, key):
    assert plain_key("domain", path, start) == key


@given(st.text(max_size=3000), st.text(max_size=300))
def test_no_value_makes_a_key_that_a_store_refuses(value, domain):
    for key in (typed_key(domain, (("k", value),), "minute", 1), bounded_key(plain_key(domain, (("k", value),), 1))):
        assert len(key.encode()) + 64 <= MAX_TEXT_BYTES


def test_long_values_that_differ_keep_counters_apart():
    keys = {bounded_key(plain_key("d", (("k", "x" * 600 + end),), 0)) for end in "ab"}
    assert len(keys) == 2


SECRET = CardSecret("new", bytes(range(32)))


@given(PATHS, PATHS)
def test_hashed_names_keep_paths_apart_and_show_nothing_of_them(path, other_path):
    key, other = typed_key("d", path, "hour", 3600, SECRET), typed_key("d", other_path, "hour", 3600, SECRET)
    assert (key == other) is (path == other_path)
    assert re.fullmatch(r"tollhouse:1:d:\{1:d\}:hour:3600:new\.[A-Za-z0-9_-]{43}", key)


def test_hashed_names_differ_with_the_secret_and_under_compat_too():
    other = CardSecret("new", bytes(range(1, 33)))
    path = (("remote_address", "203.0.113.7"),)
    names = [make("d", path, secret) for secret in (SECRET, other) for make in (_typed, _plain)]
    assert len(set(names)) == 4
    assert not any("203.0.113.7" in name for name in names)


def _typed(domain, path, secret):
    return typed_key(domain, path, "hour", 0, secret)


def _plain(domain, path, secret):
    return bounded_key(plain_key(domain, path, 0), secret)
