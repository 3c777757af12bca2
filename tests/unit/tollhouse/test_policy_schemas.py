"""JSON Schema files for editors, and the page of diagnostic codes: both are what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from policy.codes import CODES
from policy.schema.base import PATTERN_WORDS
from tollhouse.policy_errors_page import policy_errors_page
from tollhouse.schema import SCHEMA_FILES, schema_of, write_schemas

ROOT = Path(__file__).parents[3]
SCHEMAS = {name: schema_of(model) for name, model in SCHEMA_FILES.items()}


def test_files_are_written_one_a_kind(tmp_path):
    written = write_schemas(tmp_path / "new" / "folder")
    assert {path.name: json.loads(path.read_text()) for path in written} == SCHEMAS


def test_committed_files_are_up_to_date():
    assert {path.name: json.loads(path.read_text()) for path in (ROOT / "schemas").iterdir()} == SCHEMAS


@pytest.mark.parametrize("path", sorted((ROOT / "policies").rglob("*.yaml")), ids=lambda path: path.name)
def test_first_line_of_a_sample_file_names_its_schema(path):
    found = re.match(r"# yaml-language-server: \$schema=(.*)\n", path.read_text())
    assert found
    assert (path.parent / found[1]).resolve() in {(ROOT / "schemas" / name) for name in SCHEMA_FILES}


def test_what_an_editor_reads_as_a_number_is_accepted():
    merchant = SCHEMAS["merchants.schema.json"]["$defs"]["Merchant"]["properties"]
    assert "integer" in merchant["mcc"]["anyOf"][0]["type"]
    assert merchant["country"]["anyOf"][0]["type"] == "string"
    assert SCHEMAS["tollhouse.schema.json"]["properties"]["version"]["enum"] == ["1", 1]
    assert SCHEMAS["quotas.schema.json"]["$defs"]["Quota"]["properties"]["limit"]["anyOf"][0]["type"] == "integer"
    assert SCHEMAS["routes.schema.json"]["$defs"]["Operation"]["properties"]["moves_money"]["type"] == "boolean"


def test_unknown_keys_are_errors_in_editors_too():
    for schema in SCHEMAS.values():
        assert schema["additionalProperties"] is False


def patterns(node) -> set[str]:
    if isinstance(node, dict):
        own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
        return own.union(*(patterns(item) for item in node.values()))
    return set().union(*(patterns(item) for item in node)) if isinstance(node, list) else set()


def test_every_pattern_has_words():
    assert patterns(list(SCHEMAS.values())) == set(PATTERN_WORDS)


def test_page_of_codes_is_up_to_date():
    assert (ROOT / "docs" / "policy-errors.md").read_text("utf-8") == policy_errors_page()


def test_every_code_of_the_source_is_documented_and_used():
    source = "".join(path.read_text() for path in (ROOT / "policy").rglob("*.py") if path.name != "codes.py")
    assert set(re.findall(r'"(P\d{3})"', source)) == set(CODES)
