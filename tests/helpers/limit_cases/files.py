"""Cases of tests/cases/ratelimit.yaml: their rules as descriptor files, and the sets that the reader makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policy.descriptors.reader import DescriptorOptions, read_descriptors
from policy.descriptors.tree import DescriptorSet
from policy.diagnostics import PolicyInvalid, ProblemList

PATH = Path(__file__).parents[2] / "cases" / "ratelimit.yaml"

STAR_IN_KEY = "W08"
_NAMES = {"shadow": "shadow_mode", "quota": "quota_mode", "share": "share_threshold", "detailed": "detailed_metric"}
_NAMES |= {"v2m": "value_to_metric", "meta": "metadata"}


@cache
def load() -> Mapping[str, Any]:
    return yaml.safe_load(PATH.read_text("utf-8"))


def cases(kind: str | None = None) -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in load()["cases"] if case.get("kind") == kind}


def file_of(rule_set: str) -> str:
    """The rule set as a file in envoyproxy/ratelimit's format."""
    found = load()["rule_sets"][rule_set]
    return yaml.safe_dump({"domain": found["domain"], "descriptors": [_descriptor(rule) for rule in found["rules"]]})


def _descriptor(rule: Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"key": rule["k"], **({"value": rule["v"]} if "v" in rule else {})}
    limit: dict[str, Any] = {}
    if "limit" in rule:
        limit |= {"requests_per_unit": rule["limit"][0], "unit": rule["limit"][1]}
    limit |= {name: rule[name] for name in ("name", "unlimited") if name in rule}
    if "replaces" in rule:
        limit["replaces"] = [{"name": name} for name in rule["replaces"]]
    if limit:
        written["rate_limit"] = limit
    written |= {name: rule[short] for short, name in _NAMES.items() if short in rule}
    if "sub" in rule:
        written["descriptors"] = [_descriptor(each) for each in rule["sub"]]
    return written


def documents(case: Mapping[str, Any], *, is_compat: bool) -> list[str]:
    """The files of a case; by default without the one rule that is refused, save in the case that is about it."""
    texts = case.get("documents") or [file_of(name) for name in case["rule_sets"]]
    return texts if is_compat or case["id"] == STAR_IN_KEY else [_without_star_in_key(text) for text in texts]


def _without_star_in_key(text: str) -> str:
    if "gl*b" not in text:
        return text
    root = yaml.safe_load(text)
    root["descriptors"] = [each for each in root["descriptors"] if "*" not in each["key"]]
    return yaml.safe_dump(root)


def reloaded(step: Mapping[str, Any]) -> list[str]:
    what = step["reload"]
    return [what] if isinstance(what, str) else [file_of(name) for name in what]


def read(texts: list[str], *, is_compat: bool, merges: bool = False) -> DescriptorSet:
    """Read files as the service does; raises PolicyInvalid."""
    problems = ProblemList()
    contents = {f"{place}.yaml": text.encode() for place, text in enumerate(texts)}
    found = read_descriptors(contents, "0" * 16, DescriptorOptions(is_compat, merges), problems)
    if problems.has_errors:
        raise PolicyInvalid(problems.problems)
    return found
