"""Where a token may stand (RFC 6750 section 2)."""

from __future__ import annotations

import pytest

from extauthz.model import Deny
from extauthz.reasons import Reason
from extauthz.tokens.presentation import MAX_TOKEN_CHARACTERS, presented_token
from helpers.requests import authz_request, bearer_request

TOKEN = "abc.def-_~+/.ghi=="


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("gap", [" ", "   "])
def test_bearer_header_yields_the_token(scheme, gap):
    request = authz_request(headers={"authorization": f" {scheme}{gap}{TOKEN}\t"})
    assert presented_token(request) == TOKEN


def test_longest_token_is_read():
    token = "x" * MAX_TOKEN_CHARACTERS
    assert presented_token(bearer_request(token)) == token


@pytest.mark.parametrize(
    "value",
    ["", " ", "Basic dXNlcjpwYXNz", "DPoP abc", "Negotiate", "Bearerabc", "Bearer\tabc", "abc"],
)
def test_other_scheme_or_nothing_is_no_credentials(value):
    decision = presented_token(authz_request(headers={"authorization": value}))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.ACCESS_TOKEN_MISSING
    assert decision.challenge is not None
    assert (decision.challenge.error, decision.challenge.description, decision.challenge.scope) == (None, None, None)


@pytest.mark.parametrize("value", ["Bearer", "bearer ", "Bearer a b", "Bearer a,Bearer b", "Basic a,Bearer b", ","])
def test_ambiguous_header_is_a_bad_request(value):
    _assert_presentation(authz_request(headers={"authorization": value}))


@pytest.mark.parametrize(
    "query",
    ["access_token=x", "a=b&access_token=x", "access_token", "a;access_token=x", "%61ccess_token=x", "?&access_token="],
)
def test_query_token_is_a_bad_request_even_beside_a_header(query):
    _assert_presentation(bearer_request(TOKEN, path=f"/v1/payments?{query}"))
    _assert_presentation(authz_request(path=f"/v1/payments?{query}"))


@pytest.mark.parametrize("path", ["/v1/access_token=x", "/v1?xaccess_token=1", "/v1?access_tokens=1", "/v1?a=%zz"])
def test_other_parameters_are_none_of_our_business(path):
    assert presented_token(bearer_request(TOKEN, path=path)) == TOKEN


@pytest.mark.parametrize("body", [b"access_token=x", b"a=1&access%5ftoken=x", b"\xff=1&access_token"])
def test_form_token_is_a_bad_request(body):
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "Application/X-www-form-urlencoded; charset=utf-8"}
    _assert_presentation(authz_request(headers=headers, body=body))


def test_json_body_is_not_looked_into():
    assert presented_token(bearer_request(TOKEN, body=b'{"access_token": "x"}')) == TOKEN


@pytest.mark.parametrize("token", ["a!b", "a=b", '{"a":1}', "\u00e9", "a\x00b", "x" * (MAX_TOKEN_CHARACTERS + 1), "=="])
def test_text_that_is_no_token_is_an_invalid_token(token):
    decision = presented_token(bearer_request(token))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.ACCESS_TOKEN_INVALID


def _assert_presentation(request):
    decision = presented_token(request)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.ACCESS_TOKEN_PRESENTATION
    assert decision.challenge is not None
    assert decision.challenge.error == "invalid_request"


@pytest.mark.parametrize(
    ("content_type", "changes", "is_refused"),
    [
        ("application/x-www-form-urlencoded", {"body": b"a=1;access_token=x"}, True),
        ("application/x-www-form-urlencoded", {"body": b"a=access"}, False),
        ("application/x-www-form-urlencoded", {"body": b"a=1", "body_is_partial": True}, True),
        ("application/x-www-form-urlencoded", {"body": b"a" * 65_537}, True),
        ("application/x-www-form-urlencoded", {"body": b"a" * 65_536}, False),
        ("application/json", {"body": b"access_token=x"}, False),
        ("application/json", {"body": b"a" * 65_537, "body_is_partial": True}, False),
    ],
)
def test_body_is_looked_at_before_authentication_only_as_a_form_within_bounds(content_type, changes, is_refused):
    headers = {"content-type": content_type, "authorization": "Bearer abc"}
    found = presented_token(authz_request(headers=headers, **changes))
    assert (isinstance(found, Deny) and found.reason is Reason.ACCESS_TOKEN_PRESENTATION) is is_refused
