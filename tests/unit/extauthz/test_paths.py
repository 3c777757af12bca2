"""A path is canonicalised once or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.paths import canonical_host, canonical_path


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        pytest.param("/v1/payments", "/v1/payments", id="a plain path stays"),
        pytest.param("/v1/payments?x=%2F..%2F", "/v1/payments", id="the query is not part of it"),
        pytest.param("/v1/p%61yments", "/v1/payments", id="an escaped unreserved character is decoded"),
        pytest.param("/v1/a%20b", "/v1/a%20b", id="another escape stays"),
        pytest.param("/v1/a%c3%a9", "/v1/a%C3%A9", id="escapes are written in upper case"),
        pytest.param("/v1/payments/", "/v1/payments/", id="a trailing slash is another path"),
        pytest.param("/", "/", id="the root"),
    ],
)
def test_path_that_reads_one_way_is_canonicalised(raw, canonical):
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    "raw",
    [
        "/v1/payments/../admin", "/v1/./payments", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1%2Fpayments",
        "/v1/%5cadmin", "/v1/\\admin", "/v1//payments", "//v1/payments", "/v1/pay;x=1", "/v1/%3Bx", "/v1/%00",
        "/v1/%252e", "/v1/%", "/v1/%zz", "/v1/a b", "/v1/\x00", "/v1/é", "v1/payments", "", "*", "/v1/#x", "/v1/%0d%0a",
        "/" + "a" * 3000, "/a" * 40,
    ],
)  # fmt: skip
def test_path_that_reads_two_ways_is_refused(raw):
    assert canonical_path(raw) is None


@given(st.text(max_size=60))
def test_canonical_path_of_any_text_is_stable_and_free_of_traps(raw):
    path = canonical_path("/" + raw)
    if path is not None:
        assert canonical_path(path) == path
        assert not {"..", "."} & set(path.split("/"))
        assert "//" not in path
        assert "%2F" not in path.upper()


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        ("Payments.Test", "payments.test"),
        ("payments.test:8443", "payments.test"),
        ("payments.test.", "payments.test"),
        ("payments.test.:443", "payments.test"),
        ("[::1]:80", "[::1]"),
        ("127.0.0.1", "127.0.0.1"),
        ("a b", None),
        ("a..b", None),
        ("a.test..", None),
        ("a@b", None),
        ("a:b", None),
        ("", None),
    ],
)
def test_host_is_lower_case_without_port_or_refused(raw, host):
    assert canonical_host(raw) == host
