"""Oracle of the descriptor reader: places inside the file, one meaning in both manners, and that of a second reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from helpers.fuzzing.engine import Target
from policy.descriptors.reader import DescriptorOptions, read_descriptors
from policy.descriptors.tree import DescriptorSet, Level, LimitRule, level_nodes
from policy.diagnostics import MAX_PROBLEMS, Problem, ProblemList

_NAME = "edge.yaml"
_SAME_TEXT = "P124"  # two descriptors that are one only when key and value are joined
_KEYS_OF_TEXT = ("<<", "!", "&", "*")  # what the second reader does not read, or reads in another way


def run_descriptors(data: bytes) -> None:
    """Read one file in both manners."""
    default, problems = _read(data, is_compat=False)
    compat, compat_problems = _read(data, is_compat=True)
    for problem in (*problems, *compat_problems):
        _check_place(problem, data)
    if any(problem.severity == "error" for problem in problems):
        return
    refused = {problem.code for problem in compat_problems if problem.severity == "error"}
    assert refused <= {_SAME_TEXT}, "a clear file that envoyproxy/ratelimit refuses"
    if not refused:
        assert _meaning(default) == _meaning(compat), "a clear file that means something else under compat"
    _compare_with_second_reader(data, default)


def _read(data: bytes, *, is_compat: bool) -> tuple[DescriptorSet, tuple[Problem, ...]]:
    problems = ProblemList()
    found = read_descriptors({_NAME: data}, "0" * 16, DescriptorOptions(is_compat=is_compat), problems)
    assert len(problems.problems) <= MAX_PROBLEMS + 1
    return found, problems.problems


def _check_place(problem: Problem, data: bytes) -> None:
    assert "\n" not in str(problem)
    assert str(problem).encode()
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n")
    assert 1 <= problem.line <= len(lines), "a line beyond the file"
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, "a column beyond the line"


def _meaning(found: DescriptorSet) -> list[tuple[str, ...]]:
    return sorted(
        (name, *path, str(limit.requests_per_unit), limit.unit or "", limit.name, *sorted(limit.replaces))
        for name, domain in found.domains.items()
        for path, limit in _limits(domain.root, ())
    )


def _limits(root: Level, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], LimitRule]]:
    for node in level_nodes(root):
        here = (*path, node.key, node.value)
        if node.limit is not None:
            yield here, node.limit
        if node.children is not None:
            yield from _limits(node.children, here)


def _compare_with_second_reader(data: bytes, found: DescriptorSet) -> None:
    text = data.removeprefix(b"\xef\xbb\xbf").decode()
    if any(sign in text for sign in _KEYS_OF_TEXT):
        return
    root = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 - builds nothing but text, lists and mappings
    (domain,) = found.domains.values()
    assert root["domain"] == domain.name
    second = sorted((*path, str(_number(limit))) for path, limit in _second_limits(root, ()))
    assert second == sorted((*path, str(limit.requests_per_unit)) for path, limit in _limits(domain.root, ()))


def _second_limits(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for item in node.get("descriptors") or ():
        value = item.get("value", "")
        here = (*path, item["key"], value)
        if isinstance(item.get("rate_limit"), dict):
            yield here, item["rate_limit"]
        if isinstance(item.get("descriptors"), list):
            yield from _second_limits(item, here)


def _number(limit: dict[str, Any]) -> int:
    return 0 if limit.get("unlimited") == "true" else int(limit["requests_per_unit"])


DESCRIPTORS = Target(
    "descriptors",
    run_descriptors,
    ("/policy/descriptors/",),
    (
        b"- ",
        b": ",
        b"\n",
        b"\n  ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!str ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"'",
        b'"',
        b"---\n",
        b"...\n",
        b"%YAML 1.1\n",
        b"~",
        b"null",
        b"true",
        b"yes",
        b"0100",
        b"0x1F",
        b"1_0",
        b"1.5",
        b"1e3",
        b"08",
        b"-1",
        b"4294967296",
        b"domain",
        b"descriptors",
        b"key",
        b"value",
        b"rate_limit",
        b"unit",
        b"day",
        b"requests_per_unit",
        b"unlimited",
        b"name",
        b"replaces",
        b"shadow_mode",
        b"share_threshold",
        b"metadata",
        b"*",
        b"_",
        b"tollhouse",
        b"\xef\xbb\xbf",
        b"\r\n",
    ),
    1200,
)
