"""`tollhouse check DIR`: every mistake of a policy set, or of a directory of descriptor files, in one run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from policy.card_numbers import key_needs
from policy.descriptors.changes import count_limits
from policy.descriptors.live import SUFFIXES, load_descriptors
from policy.descriptors.reader import DescriptorOptions
from policy.diagnostics import PolicyInvalid, Problem, render_json
from policy.loader import PolicySet, load_policy_set
from policy.names import FILE_MODELS, MANIFEST_FILE
from ratelimit.leased import largest_share

Compile = Callable[[PolicySet], Sequence[Problem]]
"""A further step that looks at a set without problems and returns those it finds."""

_RED, _YELLOW, _GREEN, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
_EXPLAINED = "Explanations: docs/policy-errors.md"


def run_check(directory: Path, output_format: str, is_color: bool, compilers: Sequence[Compile] = ()) -> int:
    """Print problems and a summary.

    Args:
        directory: Of the policy set.
        output_format: `text` or `json`.
        is_color: Colour the text form.
        compilers: What the services add to loading; run only on a set that loads.

    Returns:
        0 without errors (warnings are none), 1 with errors, 2 when `directory` is no directory.
    """
    if not directory.is_dir():
        print(f"tollhouse check: {directory} is not a directory", file=sys.stderr)
        return 2
    policy, problems = _load(directory, compilers)
    errors = sum(problem.severity == "error" for problem in problems)
    summary = _summary(policy, errors, len(problems) - errors)
    return _print(problems, policy.revision if policy else None, summary, output_format, is_color)


def run_check_descriptors(directory: Path, output_format: str, is_color: bool, options: DescriptorOptions) -> int:
    """Print problems and a summary of a directory of descriptor files.

    Args:
        directory: The one that `--descriptors` names.
        output_format: `text` or `json`.
        is_color: Colour the text form.
        options: How the service is told to read the files.

    Returns:
        0 without errors (warnings are none), 1 with errors, 2 when `directory` is no directory.
    """
    if not directory.is_dir():
        print(f"tollhouse check: {directory} is not a directory", file=sys.stderr)
        return 2
    try:
        loaded = load_descriptors(directory, options)
    except PolicyInvalid as error:
        errors = sum(problem.severity == "error" for problem in error.problems)
        noted = _noted(len(error.problems) - errors)
        return _print(
            error.problems, None, f"{_counted(errors, 'problem')}{noted}, nothing loaded", output_format, is_color
        )
    found = loaded.descriptors
    counts = f"{_counted(len(found.domains), 'domain')}, {_counted(count_limits(found), 'limit')}"
    manner = " (as envoyproxy/ratelimit reads them)" if found.is_compat else ""
    summary = f"OK revision {found.revision}: {counts}{_noted(len(loaded.warnings))}{manner}"
    return _print(loaded.warnings, found.revision, summary, output_format, is_color)


def is_descriptor_directory(directory: Path) -> bool:
    """Tell whether a directory can only be one of descriptor files: YAML, and none of a policy set's own files."""
    try:
        names = {entry.name for entry in directory.iterdir()}
    except OSError:
        return False
    return not names & {MANIFEST_FILE, *FILE_MODELS} and any(name.endswith(SUFFIXES) for name in names)


def _print(problems: Sequence[Problem], revision: str | None, summary: str, output_format: str, is_color: bool) -> int:
    is_valid = all(problem.severity != "error" for problem in problems)
    if output_format == "json":
        facts = {"valid": is_valid, "revision": revision, "summary": summary}
        print(json.dumps(render_json(problems, facts), indent=2))
    else:
        _print_text(problems, summary, is_color)
    return 0 if is_valid else 1


def _load(directory: Path, compilers: Sequence[Compile]) -> tuple[PolicySet | None, list[Problem]]:
    try:
        policy = load_policy_set(directory)
    except PolicyInvalid as error:
        return None, list(error.problems)
    problems = [*policy.warnings, *(problem for compile_ in compilers for problem in compile_(policy))]
    problems.sort(key=lambda problem: problem.sort_key)
    is_valid = all(problem.severity != "error" for problem in problems)
    return policy if is_valid else None, problems


def _summary(policy: PolicySet | None, errors: int, warnings: int) -> str:
    noted = _noted(warnings)
    if policy is None:
        return f"{_counted(errors, 'problem')}{noted}, nothing loaded"
    counts: tuple[str, ...] = (
        _counted(len(policy.routes.operations), "operation"),
        _counted(len(policy.merchants.merchants), "merchant"),
        _counted(len(policy.quotas.quotas), "quota"),
        _counted(len(policy.risk.rules), "rule"),
    )
    if policy.descriptors is not None:
        counts += (f"{_counted(count_limits(policy.descriptors), 'limit')} by descriptors",)
    return f"OK revision {policy.revision}: {', '.join(counts)}{noted}{_needs(policy)}{_leases(policy)}"


def _noted(warnings: int) -> str:
    return f", {_counted(warnings, 'warning')}" if warnings else ""


def _needs(policy: PolicySet) -> str:
    """Return what serving the set takes besides the set; a check cannot see whether the service has it."""
    files: dict[str, list[str]] = {}
    for need in key_needs(policy):
        files.setdefault(need.what, [])
        if need.file not in files[need.what]:
            files[need.what].append(need.file)
    told = "; ".join(f"{what} in {', '.join(named)}" for what, named in files.items())
    return f"; extauthz needs --card-key-file ({told})" if told else ""


def _leases(policy: PolicySet) -> str:
    """Say for each leased quota how many requests another replica may hold, which are refused too early."""
    told = [
        f"{quota.id} up to {largest_share(max(values))} of {max(values)}"
        for quota in policy.quotas.quotas
        if quota.coordination == "leased"
        and (values := [*quota.tiers.values(), *quota.merchants.values(), *([quota.limit] if quota.limit else [])])
    ]
    return f"; each further replica may hold of leased quotas: {', '.join(told)}" if told else ""


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _print_text(problems: Sequence[Problem], summary: str, is_color: bool) -> None:
    for problem in problems:
        colour = _RED if problem.severity == "error" else _YELLOW
        print(_painted(str(problem), colour, is_color))
        if problem.excerpt:
            print(problem.excerpt)
    is_ok = summary.startswith("OK")
    print(_painted(summary, _GREEN if is_ok else _RED, is_color) + (f". {_EXPLAINED}" if problems else ""))


def _painted(text: str, colour: str, is_color: bool) -> str:
    return f"{colour}{text}{_PLAIN}" if is_color else text
