"""The merchants that a token names: one, or several where policy lets the body pick."""

from __future__ import annotations

import pytest

from extauthz.tokens.merchant_claims import MAX_MERCHANTS, MerchantClaims
from policy.schema.routes import MerchantBinding

SEVERAL = MerchantClaims.compile(MerchantBinding(claim="/m", other_claims=("/n",), several="body_picks"))
ONE = MerchantClaims.compile(MerchantBinding(claim="/m", other_claims=("/n",)))


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"m": ["a", "b"]}, {"a", "b"}),
        ({"m": ["a", "a"]}, {"a"}),
        ({"m": "a"}, {"a"}),
        ({"m": ["a", "b"], "n": ["b", "a"]}, {"a", "b"}),
        ({"m": ["a"], "n": "a"}, {"a"}),
        ({"m": ["a", "b"], "n": "a"}, set()),
        ({"m": ["a", "b"], "n": 7}, set()),
        ({"m": ["a", 7]}, set()),
        ({"m": {"a": "a"}}, set()),
        ({"m": []}, set()),
        ({"m": ["a"] * (MAX_MERCHANTS + 1)}, set()),
        ({}, set()),
    ],
)
def test_claims_that_agree_list_the_merchants(claims, named):
    assert SEVERAL.merchant_ids(claims) == named


@pytest.mark.parametrize("claim", [["a", "b"], ["a"], []])
def test_list_names_nobody_where_policy_says_nothing(claim):
    assert ONE.merchant_ids({"m": claim}) == frozenset()
