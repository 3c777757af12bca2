"""Policy that is alive: loaded at start, watched, swapped whole, with every loosening logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from chassis import heap
from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.reload import Loaded, LoadFailed, Reloader
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet, hash_policy_files, load_policy_set

T = TypeVar("T")

log = logging.getLogger("tollhouse.policy")


@dataclass(frozen=True, slots=True)
class Compiled(Generic[T]):
    """A policy set and what a service made of it."""

    policy: PolicySet
    tables: T


@dataclass(frozen=True, slots=True)
class Compiler(Generic[T]):
    """What a service adds to loading.

    Attributes:
        compile: Builds the service's tables from a set without problems.
        loosened: Says what lets more through in the second set than in the first.
        adopt: Called with each new snapshot when it becomes the active one.
    """

    compile: Callable[[PolicySet], T]
    loosened: Callable[[PolicySet, PolicySet], list[str]]
    adopt: Callable[[T], None] = lambda _: None


def live_policy(root: Path, compiler: Compiler[T], metrics: ServiceMetrics, clock: Clock) -> Reloader[Compiled[T]]:
    """Return a reloader for the policy set in `root`; nothing is read before it is told to load."""

    def load() -> Loaded[Compiled[T]]:
        try:
            policy = load_policy_set(root)
        except PolicyInvalid as error:
            raise LoadFailed(tuple(str(problem) for problem in error.problems)) from error
        return Loaded(Compiled(policy, compiler.compile(policy)), policy.revision)

    def on_swap(old: Compiled[T] | None, new: Compiled[T]) -> None:
        compiler.adopt(new.tables)
        metrics.policy_loaded(new.policy.revision, clock.wall())
        heap.settle()
        log.info("policy revision %s is active", new.policy.revision)
        for sentence in compiler.loosened(old.policy, new.policy) if old else ():
            log.warning("policy revision %s loosens: %s", new.policy.revision, sentence)

    def on_failure(problems: tuple[str, ...]) -> None:
        metrics.policy_reload_failed()
        for problem in problems:
            log.error("policy not loaded, the last good revision serves: %s", problem)

    fingerprint = partial(hash_policy_files, root)
    return Reloader(root, load, fingerprint, clock=clock, on_swap=on_swap, on_failure=on_failure)
