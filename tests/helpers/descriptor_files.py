"""Reads descriptor files of tests; a mark in a text says where its problem must be reported."""

from __future__ import annotations

from helpers.policy_sets import MARK, marked_places
from policy.descriptors.reader import DescriptorOptions, read_descriptors
from policy.descriptors.tree import DescriptorSet, LimitRule, Node
from policy.diagnostics import Problem, ProblemList

DEFAULT = DescriptorOptions()
COMPAT = DescriptorOptions(is_compat=True)


def read(*texts: str | bytes, options: DescriptorOptions = DEFAULT) -> tuple[DescriptorSet, tuple[Problem, ...]]:
    """Read files a.yaml, b.yaml … and return the set with all problems."""
    problems = ProblemList()
    contents = {
        f"{chr(ord('a') + index)}.yaml": text if isinstance(text, bytes) else text.replace(MARK, "").encode()
        for index, text in enumerate(texts)
    }
    found = read_descriptors(contents, "0" * 16, options, problems)
    return found, problems.problems


def read_sound(*texts: str | bytes, options: DescriptorOptions = DEFAULT) -> DescriptorSet:
    """Read files that have no errors."""
    found, problems = read(*texts, options=options)
    assert [str(problem) for problem in problems if problem.severity == "error"] == []
    return found


def errors_of(problems: tuple[Problem, ...]) -> list[Problem]:
    """Return the errors alone."""
    return [problem for problem in problems if problem.severity == "error"]


def warnings_of(problems: tuple[Problem, ...]) -> list[Problem]:
    """Return the warnings alone."""
    return [problem for problem in problems if problem.severity == "warning"]


def places(problems: list[Problem]) -> list[tuple[str, int, int]]:
    """Return where problems stand."""
    return [(problem.file, problem.line, problem.column) for problem in problems]


def marks(*texts: str) -> list[tuple[str, int, int]]:
    """Return where the marks of `read`'s files stand."""
    return marked_places({f"{chr(ord('a') + index)}.yaml": text for index, text in enumerate(texts)})


def find(found: DescriptorSet, domain: str, *entries: tuple[str, str]) -> Node | None:
    """Return the node that entries lead to, level by level."""
    level = found.domains[domain].root
    node = None
    for key, value in entries:
        if level is None:
            return None
        node = level.find(key, value)
        if node is None:
            return None
        level = node.children
    return node


def limit(found: DescriptorSet, domain: str, *entries: tuple[str, str]) -> LimitRule | None:
    """Return the limit that entries lead to."""
    node = find(found, domain, *entries)
    return None if node is None else node.limit


def one_rule(rate_limit: str, beside: str = "") -> str:
    """Return a file with one descriptor `k` whose `rate_limit` is this text, with further fields beside it."""
    return f"domain: d\ndescriptors:\n  - key: k\n    rate_limit: {rate_limit}\n{beside}"
