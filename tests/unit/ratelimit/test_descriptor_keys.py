"""Names of counters: no two paths share one by default, and envoyproxy/ratelimit's own text under compat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.store_cluster import slot_of
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
