"""docs/descriptors.md: its examples are read without a word, and its codes exist and mean what it says."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.descriptor_files import read
from helpers.policy_sets import write_set
from policy.codes import CODES
from policy.descriptors.build import MAX_LEVELS
from policy.descriptors.fields import MAX_PAIRS
from policy.directory import MAX_FILES
from policy.loader import load_policy_set
from tollhouse.options import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "descriptors.md").read_text("utf-8")
FILE, MANIFEST = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_example_file_is_read_without_a_word():
    assert read(FILE)[1] == ()


def test_example_of_the_manifest_is_read(tmp_path):
    (tmp_path / "descriptors").mkdir()
    (tmp_path / "descriptors" / "edge.yaml").write_text(FILE)
    listed = f"  - risk.yaml\n  - descriptors/edge.yaml\n{MANIFEST}"
    assert load_policy_set(write_set(tmp_path, ("tollhouse.yaml", "  - risk.yaml\n", listed))).descriptors.is_compat


def test_codes_options_and_bounds_of_the_page_are_those_of_the_code():
    assert set(re.findall(r"P\d{3}", PAGE)) <= set(CODES)
    flags = {setting.flag for chapter in SETTINGS.values() for setting in chapter}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= flags
    assert f"{MAX_FILES} files, {MAX_LEVELS} levels, and {MAX_PAIRS:,} keys" in PAGE
