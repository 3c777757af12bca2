"""Policy that is alive: loaded at start, watched, swapped whole, with every loosening logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from chassis import heap
from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.reload import Loaded, LoadFailed, Reloader
from chassis.secret_file import SecretInvalid
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
        compile: Builds the service's tables from a set without problems. Raises PolicyInvalid for what this service
            alone can see in the set, SecretInvalid for a secret file that cannot be used.
        loosened: Says what lets more through in the second set than in the first.
        adopt: Called with each new snapshot when it becomes the active one.
        fingerprint: A hash of the files outside the set that `compile` reads; a change loads anew.
    """

    compile: Callable[[PolicySet], T]
    loosened: Callable[[PolicySet, PolicySet], list[str]]
    adopt: Callable[[T], None] = lambda _: None
    fingerprint: Callable[[], str] = lambda: ""


def live_policy(root: Path, compiler: Compiler[T], metrics: ServiceMetrics, clock: Clock) -> Reloader[Compiled[T]]:
    """Return a reloader for the policy set in `root`; nothing is read before it is told to load."""

    def load() -> Loaded[Compiled[T]]:
        try:
            policy = load_policy_set(root)
            return Loaded(Compiled(policy, compiler.compile(policy)), policy.revision)
        except PolicyInvalid as error:
            raise LoadFailed(tuple(str(problem) for problem in error.problems)) from error
        except SecretInvalid as error:
            raise LoadFailed(error.problems) from error

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

    def fingerprint() -> str:
        return f"{hash_policy_files(root)} {compiler.fingerprint()}"

    return Reloader(root, load, fingerprint, clock=clock, on_swap=on_swap, on_failure=on_failure)
