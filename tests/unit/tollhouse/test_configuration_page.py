"""docs/configuration.md is what the table of settings says, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from tollhouse.configuration_page import configuration_page
from tollhouse.options import SETTINGS

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == configuration_page()


def test_every_setting_has_its_option_variable_and_advice_on_the_page():
    page = PAGE.read_text("utf-8")
    for setting in (setting for chapter in SETTINGS.values() for setting in chapter):
        assert len(re.findall(rf"^### `{setting.flag}(?: [^`]+)?`$", page, re.MULTILINE)) == 1
        assert setting.variable is None or f"- Variable: `{setting.variable}`" in page
        assert setting.advice in page


def test_page_names_no_variable_that_is_no_setting():
    known = {setting.variable for chapter in SETTINGS.values() for setting in chapter}
    assert set(re.findall(r"TOLLHOUSE_[A-Z_]*[A-Z]", PAGE.read_text("utf-8"))) <= known
