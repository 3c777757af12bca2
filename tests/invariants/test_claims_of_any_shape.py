"""Claims of any shape: the checks of a token's rights answer, and allow only what they plainly say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extauthz.model import Principal
from extauthz.tokens.demands import Actors, StepUp, TokenDemands
from extauthz.tokens.merchant_claims import MerchantClaims
from helpers.clock import FakeClock

CLOCK = FakeClock()
DEMANDS = TokenDemands(
    scopes=("pay",),
    needs_user=True,
    step_up=StepUp(("strong",), 300),
    actors=Actors(frozenset({(None, "gateway")})),
    clock=CLOCK,
)
MERCHANT = MerchantClaims((("merchant_id",), ("ext", "merchant")))

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["strong", "gateway", "m_1", "m_2", int(CLOCK.now) - 5, int(CLOCK.now) - 900])
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sub", "iss", "act", "merchant", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["acr", "auth_time", "act", "merchant_id", "ext", "scope"])
CLAIMS = st.dictionaries(NAMES, VALUES, max_size=6)


def caller(claims: dict[str, Any]) -> Principal:
    return Principal("https://as.example", "user", "client", frozenset({"pay"}), claims, 0.0, 1.0)


def is_good(claims: dict[str, Any]) -> bool:
    """Say the same in the plainest words."""
    signed_in_at = claims.get("auth_time")
    if type(signed_in_at) not in (int, Decimal) or not 0 <= CLOCK.now - float(signed_in_at) <= 300:
        return False
    act = claims.get("act", {"sub": "gateway"})
    is_actor = (
        isinstance(act, dict)
        and act.get("sub") == "gateway"
        and act.get("iss", "https://as.example") == ("https://as.example")
    )
    return claims.get("acr") == "strong" and is_actor


@given(CLAIMS, st.booleans())
def test_claims_of_any_shape_meet_only_the_demands_that_they_plainly_meet(claims, is_nearly_good):
    if is_nearly_good:
        claims = {"acr": "strong", "auth_time": int(CLOCK.now) - 5, **dict(list(claims.items())[:1])}
    refused = DEMANDS.refusal(caller(claims))
    if refused is None:
        assert is_good(claims) or -60 <= CLOCK.now - float(claims["auth_time"]) < 0
    else:
        assert not is_good(claims)
        assert refused.challenge is not None


@given(CLAIMS)
def test_merchant_is_text_that_every_claim_agrees_on(claims):
    named = MERCHANT.merchant_id(claims)
    ext = claims.get("ext")
    said = [claims.get("merchant_id"), ext.get("merchant") if isinstance(ext, dict) else None]
    present = [value for value in said if value is not None]
    agree = bool(present) and all(isinstance(value, str) and value == present[0] for value in present)
    assert named == (present[0] if agree else None)
