"""The WWW-Authenticate header: every scheme that is taken, detail where it belongs, the metadata in each."""

from __future__ import annotations

import pytest

from extauthz.challenges import write_challenges
from extauthz.model import Challenge

METADATA = "https://api.example/.well-known/oauth-protected-resource"
STEP_UP = Challenge("insufficient_user_authentication", scope="pay", acr_values="urn:a urn:b", max_age=300)
DETAIL = 'error="insufficient_user_authentication", scope="pay", acr_values="urn:a urn:b", max_age="300"'
COMMON = f'realm="tollhouse", resource_metadata="{METADATA}"'


@pytest.mark.parametrize(
    ("challenge", "authorization", "algorithms", "text"),
    [
        pytest.param(STEP_UP, "Bearer x", "", f"Bearer {COMMON}, {DETAIL}", id="bearer alone"),
        pytest.param(STEP_UP, "DPoP x", "", f"Bearer {COMMON}, {DETAIL}", id="a scheme that is not taken"),
        pytest.param(
            STEP_UP, "Bearer x", "ES256", f'Bearer {COMMON}, {DETAIL}, DPoP {COMMON}, algs="ES256"', id="bearer used"
        ),
        pytest.param(
            STEP_UP, "dpop x", "ES256", f'Bearer {COMMON}, DPoP {COMMON}, {DETAIL}, algs="ES256"', id="DPoP used"
        ),
        pytest.param(Challenge(), "", "ES256", f'Bearer {COMMON}, DPoP {COMMON}, algs="ES256"', id="no credentials"),
    ],
)
def test_challenge_of_the_used_scheme_has_the_detail(challenge, authorization, algorithms, text):
    written = write_challenges(
        challenge, authorization, realm="tollhouse", dpop_algorithms=algorithms, resource_metadata=METADATA
    )
    assert written == text


def test_policy_without_a_resource_names_no_metadata():
    assert write_challenges(Challenge(), "", realm="r", dpop_algorithms="") == 'Bearer realm="r"'
