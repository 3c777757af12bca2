"""`htu` against the address of a request (RFC 9449 section 4.3, RFC 3986 section 6.2)."""

from __future__ import annotations

import pytest

from extauthz.tokens.target import MAX_HTU_CHARACTERS, is_target
from helpers.requests import authz_request


@pytest.mark.parametrize(
    "htu",
    [
        "https://pay.example.test/v1/payments",
        "HTTPS://PAY.example.test:443/%761/payments",
        "https://pay.example.test./v1/payments",
        "https://pay.example.test/v1/payments?x=2",
        "https://pay.example.test/v1/payments#part",
    ],
)
@pytest.mark.parametrize("host", ["pay.example.test", "pay.example.test:443", "PAY.example.test"])
def test_same_address_in_another_spelling(htu, host):
    assert is_target(htu, authz_request(host=host, path="/v1/payments?x=1"))


@pytest.mark.parametrize(
    "htu",
    [
        "",
        "/v1/payments",
        "pay.example.test/v1/payments",
        "http://pay.example.test/v1/payments",
        "ftp://pay.example.test/v1/payments",
        "https://pay.example.test:8443/v1/payments",
        "https://pay.example.test:80/v1/payments",
        "https://pay.example.test:0/v1/payments",
        "https://pay.example.test:99999999/v1/payments",
        "https://pay.example.test:x/v1/payments",
        "https://user@pay.example.test/v1/payments",
        "https://pay.example.test@evil.test/v1/payments",
        "https://evil.test/v1/payments",
        "https://pay.example.test.evil.test/v1/payments",
        "https://pay.example.test/v1/payments/",
        "https://pay.example.test//v1/payments",
        "https://pay.example.test/v1/./payments",
        "https://pay.example.test/v1/x/../payments",
        "https://pay.example.test/v1%2Fpayments",
        "https://pay.example.test/v1/PAYMENTS",
        "https://pay.example.test/v1/payments;x",
        "https://pay.example.test\\@evil.test/v1/payments",
        " https://pay.example.test/v1/payments",
        "https://pay.example.test/v1/payments\n",
        "https://pay.example.test/v1/pay\tments",
        "https://pay.example.test/v1/payment\u017f",
        "https://[::1/v1/payments",
        "https:///v1/payments",
        "https://pay.example.test/" + "x" * MAX_HTU_CHARACTERS,
    ],
)
def test_another_address_or_none(htu):
    assert not is_target(htu, authz_request())


def test_plain_root_and_empty_path_are_one():
    assert is_target("https://pay.example.test", authz_request(path="/"))


@pytest.mark.parametrize(
    ("scheme", "host", "htu"),
    [
        ("http", "127.0.0.1:10000", "http://127.0.0.1:10000/v1/payments"),
        ("http", "[::1]:8080", "http://[::1]:8080/v1/payments"),
        ("https", "[::1]", "https://[::1]:443/v1/payments"),
        ("http", "pay.example.test", "http://pay.example.test:80/v1/payments"),
    ],
)
def test_ports_and_addresses(scheme, host, htu):
    assert is_target(htu, authz_request(scheme=scheme, host=host))
    assert not is_target(htu.replace("/v1", "1/v1"), authz_request(scheme=scheme, host=host))


@pytest.mark.parametrize("scheme", ["", "ws"])
def test_request_whose_scheme_is_unknown_has_no_address(scheme):
    assert not is_target("https://pay.example.test/v1/payments", authz_request(scheme=scheme))
