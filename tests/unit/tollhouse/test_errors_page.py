"""docs/errors.md is what the reason enums say."""

from __future__ import annotations

from pathlib import Path

import pytest

import extauthz.reasons
import ratelimit.reasons
from chassis.problem import problem_type
from tollhouse.errors_page import errors_page

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
REASONS = [*extauthz.reasons.Reason, *ratelimit.reasons.Reason]


def test_page_is_up_to_date():
    assert PAGE.read_text() == errors_page()


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_problem_type_of_every_reason_points_at_an_anchor(reason):
    anchor = problem_type("docs/errors.md", reason.code).partition("#")[2]
    assert f'<a id="{anchor}"></a>' in PAGE.read_text()


def test_no_two_reasons_of_the_services_share_a_code():
    codes = [reason.code for reason in REASONS]
    assert len(codes) == len(set(codes))
