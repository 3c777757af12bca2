"""Reads descriptor files into one set, or says everything that is wrong with them in one run.

Called by the policy loader for `descriptors/*.yaml` and by `live` for a directory of such files alone. Law: any bytes
lead to a set or to problems, never to an exception; files count in the order of their names, so that the same
directory always means the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from policy.descriptors.build import Duplicates, FileTree, build_file, joined_text, make_level
from policy.descriptors.fields import Budget, FileFields
from policy.descriptors.nodes import read_first_document
from policy.descriptors.tree import DescriptorSet, Domain, JoinedLevel, Level, Node, Pattern, level_nodes
from policy.diagnostics import Problem, ProblemList, Severity, quote
from policy.handoff import DOMAIN

COMPAT_ENVOYPROXY: Final = "envoyproxy"
"""The one value of `compat`."""

_MAX_COMPARED: Final = 200  # wildcards of a level that each later one is compared with


@dataclass(frozen=True, slots=True)
class DescriptorOptions:
    """How descriptor files are read.

    Attributes:
        is_compat: As envoyproxy/ratelimit does; what is dangerous in that becomes a warning.
        merges_domains: Several files may add to one domain (its MERGE_DOMAIN_CONFIG).
    """

    is_compat: bool = False
    merges_domains: bool = False


@dataclass(slots=True)
class _DomainDraft:
    files: list[str]
    nodes: list[Node] = field(default_factory=list)
    duplicates: Duplicates = field(default_factory=lambda: Duplicates(is_compat=False))
    trees: list[FileTree] = field(default_factory=list)


def read_descriptors(
    contents: Mapping[str, bytes], revision: str, options: DescriptorOptions, problems: ProblemList
) -> DescriptorSet:
    """Return the set of these files; it must not be used when `problems` has errors afterwards.

    Args:
        contents: Bytes by file name.
        revision: Content hash of them.
        options: How they are read.
        problems: Takes errors and warnings.
    """
    drafts: dict[str, _DomainDraft] = {}
    budget = Budget()
    for name in sorted(contents):
        read = read_first_document(name, contents[name], problems, is_compat=options.is_compat)
        if read is None:
            continue
        source, root = read
        tree = build_file(FileFields(source, problems, options.is_compat, budget), root)
        if tree is not None and tree.domain:
            _add_file(drafts, tree, options)
    domains = {name: _domain(name, draft, options) for name, draft in drafts.items()}
    return DescriptorSet(revision, MappingProxyType(domains), options.is_compat)


def _add_file(drafts: dict[str, _DomainDraft], tree: FileTree, options: DescriptorOptions) -> None:
    fields, file = tree.fields, tree.fields.source.name
    if tree.domain == DOMAIN:
        message = f"the domain {quote(DOMAIN)} is what quotas are asked in; no descriptor file may answer for it"
        fields.refuse(tree.domain_start, "P122", message)
        return
    draft = drafts.get(tree.domain)
    if draft is None:
        draft = drafts[tree.domain] = _DomainDraft([], duplicates=Duplicates(is_compat=options.is_compat))
    elif not options.merges_domains:
        message = f"duplicate domain {quote(tree.domain)} in config file; the first one is {draft.files[0]}"
        fields.refuse(tree.domain_start, "P121", message)
        return
    draft.files.append(file)
    draft.trees.append(tree)
    for node in tree.root:
        if draft.duplicates.is_new(node.key, node.value):
            draft.nodes.append(node)
        else:
            composite = f"{tree.domain}.{joined_text(node.key, node.value)}"
            message = f"duplicate descriptor composite key {quote(composite)}"
            fields.problems.add(_problem(node, "P124", message))


def _domain(name: str, draft: _DomainDraft, options: DescriptorOptions) -> Domain:
    root = make_level(draft.nodes, is_compat=options.is_compat)
    problems = draft.trees[0].fields.problems
    names: set[str] = set()
    replacing: list[Node] = []
    waiting: list[Level] = [root]
    while waiting:
        level = waiting.pop()
        for problem in _unreachable(level):
            problems.add(problem)
        for node in level_nodes(level):
            if node.limit is not None:
                names.add(node.limit.name)
                replacing.extend([node] if node.limit.replaces else [])
            if node.children is not None:
                waiting.append(node.children)
    for node in replacing:
        for other in sorted(node.limit.replaces - names) if node.limit else ():
            message = f"replaces {quote(other)}, and no limit of the domain has that name{problems.hint(other, names)}"
            problems.add(_problem(node, "P134", message))
    return Domain(name, root, tuple(draft.files))


def _unreachable(level: Level) -> Iterable[Problem]:
    """Yield a warning for each descriptor that an earlier wildcard keeps every request from."""
    groups = [level.patterns] if isinstance(level, JoinedLevel) else level.wildcards.values()
    by_key = level.joined if isinstance(level, JoinedLevel) else level.by_key
    for patterns in groups:
        earlier: list[tuple[Pattern, Node]] = []
        for pattern, node in patterns:
            # A pattern that fits another's text, its stars included, fits whatever the other one fits.
            first = next((before for before, _ in earlier if before.matches(pattern.text)), None)
            if first is not None:
                message = f"never reached: {quote(first.text)} stands before it and fits whatever this one fits"
                yield _problem(node, "P131", message)
            elif len(earlier) < _MAX_COMPARED:
                earlier.append((pattern, node))
        for _, node in earlier:
            hidden = by_key.get(node.key)
            if node.value and not node.value.strip("*") and hidden is not None and not hidden.value:
                yield _problem(
                    hidden, "P131", f"never reached: the value {quote(node.value)} beside it fits every value"
                )


def _problem(node: Node, code: str, message: str) -> Problem:
    place = node.place
    severity: Severity = "error" if code == "P124" else "warning"
    return Problem(place.file, place.line, place.column, code, message, severity=severity)
