"""A directory of descriptor files alone: read whole, watched, swapped whole, the last good set kept.

`tollhouse serve ratelimit --descriptors` and `tollhouse check` call it. Law: as for a policy set, any bytes on disk
lead to a set or to `PolicyInvalid`, and a directory that vanished, or lost all its files, is no set without limits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis import heap
from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.reload import Loaded, LoadFailed, Reloader
from policy.descriptors.changes import loosened
from policy.descriptors.reader import DescriptorOptions, read_descriptors
from policy.descriptors.tree import DescriptorSet
from policy.diagnostics import PolicyInvalid, Problem, ProblemList
from policy.directory import RawFiles, hash_policy_files, read_directory

SUFFIXES: Final = (".yaml", ".yml")

SOURCE: Final = "descriptors"
"""What /policy and the metrics call it."""

log = logging.getLogger("tollhouse.descriptors")


@dataclass(frozen=True, slots=True)
class LoadedDescriptors:
    """A directory that could be read.

    Attributes:
        descriptors: What the rate-limit service walks.
        warnings: What is allowed and yet probably a mistake.
    """

    descriptors: DescriptorSet
    warnings: tuple[Problem, ...]


def load_descriptors(root: Path, options: DescriptorOptions) -> LoadedDescriptors:
    """Return the set of all files in `root` and its folders; names that begin with a dot are no files.

    Raises:
        PolicyInvalid: With all problems of one run.
    """
    raw = read_directory(root)
    problems = ProblemList()
    for problem in raw.problems:
        problems.add(problem)
    contents = _descriptor_files(raw, options, problems)
    found = read_descriptors(contents, raw.revision, options, problems)
    if problems.has_errors:
        raise PolicyInvalid(problems.problems)
    return LoadedDescriptors(found, problems.problems)


def _descriptor_files(raw: RawFiles, options: DescriptorOptions, problems: ProblemList) -> dict[str, bytes]:
    if not raw.contents and not raw.problems:
        message = "there is no descriptor file here, so nothing would be limited"
        problems.add(Problem(".", 1, 1, "P137", message, severity="warning" if options.is_compat else "error"))
    found = {}
    for name, content in raw.contents.items():
        if options.is_compat or name.endswith(SUFFIXES):
            found[name] = content
        else:
            message = f"only files that end in {' or '.join(SUFFIXES)} are read here; take it away or rename it"
            problems.add(Problem(name, 1, 1, "P137", message))
    return found


def live_descriptors(
    root: Path, options: DescriptorOptions, metrics: ServiceMetrics, clock: Clock
) -> Reloader[DescriptorSet]:
    """Return a reloader for a directory of descriptor files; nothing is read before it is told to load."""

    def load() -> Loaded[DescriptorSet]:
        try:
            loaded = load_descriptors(root, options)
        except PolicyInvalid as error:
            raise LoadFailed(tuple(str(problem) for problem in error.problems)) from error
        for warning in loaded.warnings:
            log.warning("%s", warning)
        return Loaded(loaded.descriptors, loaded.descriptors.revision)

    def on_swap(old: DescriptorSet | None, new: DescriptorSet) -> None:
        metrics.policy_loaded(new.revision, clock.wall(), SOURCE)
        heap.settle()
        log.info("descriptors revision %s is active: %d domains", new.revision, len(new.domains))
        for sentence in loosened(old, new) if old else ():
            log.warning("descriptors revision %s loosens: %s", new.revision, sentence)

    def on_failure(problems: tuple[str, ...]) -> None:
        metrics.policy_reload_failed(SOURCE)
        for problem in problems:
            log.error("descriptors not loaded, the last good revision serves: %s", problem)

    return Reloader(root, load, lambda: hash_policy_files(root), clock=clock, on_swap=on_swap, on_failure=on_failure)
