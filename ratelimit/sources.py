"""Where the rate-limit service has its rules from: a policy set, a directory of descriptor files, or both.

`server` builds it at start; the request path asks it for the active snapshot of either kind. Law: a domain is answered
from one place, so descriptor files stand in the policy set or in a directory of their own, never in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.reload import Reloader
from policy.descriptors.changes import loosened as loosened_descriptors
from policy.descriptors.live import SOURCE, live_descriptors
from policy.descriptors.reader import COMPAT_ENVOYPROXY, DescriptorOptions
from policy.descriptors.tree import DescriptorSet
from policy.diagnostics import PolicyInvalid, Problem
from policy.live import Compiled, Compiler, live_policy
from policy.loader import PolicySet
from policy.names import MANIFEST_FILE
from policy.settings import ServiceSettings
from ratelimit.changes import loosened as loosened_quotas
from ratelimit.compile import compile_tables
from ratelimit.tables import Tables


@dataclass(frozen=True, slots=True)
class Sources:
    """The snapshots of a service; at least one of the two is there.

    Attributes:
        policy: Holds the policy set and the quota tables made of it.
        descriptors: Holds the descriptor files of a directory of their own.
    """

    policy: Reloader[Compiled[Tables]] | None
    descriptors: Reloader[DescriptorSet] | None

    @property
    def first(self) -> Reloader[Any]:
        """Return what the service cannot be without."""
        found: Reloader[Any] | None = self.policy or self.descriptors
        if found is None:
            raise ValueError("neither a policy set nor descriptor files are named")
        return found

    @property
    def others(self) -> dict[str, Reloader[Any]]:
        """Return what is served beside the first."""
        return {SOURCE: self.descriptors} if self.policy is not None and self.descriptors is not None else {}

    def tables(self) -> Tables | None:
        """Return the active quota tables; None without a policy set, or before it was loaded."""
        return self.policy.current.tables if self.policy is not None and self.policy.is_loaded else None

    def descriptor_set(self) -> DescriptorSet | None:
        """Return the active descriptors; None when there are none anywhere, or before they were loaded."""
        if self.descriptors is not None:
            return self.descriptors.current if self.descriptors.is_loaded else None
        if self.policy is not None and self.policy.is_loaded:
            return self.policy.current.policy.descriptors
        return None


def open_sources(settings: ServiceSettings, metrics: ServiceMetrics, clock: Clock) -> Sources:
    """Return the sources that the settings name; nothing is read yet."""
    has_directory = bool(settings.descriptors)
    policy = None
    if settings.policies:
        compiler = Compiler(_compiler(has_directory=has_directory), _loosened)
        policy = live_policy(Path(settings.policies), compiler, metrics, clock)
    descriptors = None
    if has_directory:
        options = DescriptorOptions(settings.descriptors_compat == COMPAT_ENVOYPROXY, settings.merge_domains)
        descriptors = live_descriptors(Path(settings.descriptors), options, metrics, clock)
    return Sources(policy, descriptors)


def _compiler(*, has_directory: bool) -> Callable[[PolicySet], Tables]:
    def compile_(policy: PolicySet) -> Tables:
        if has_directory and policy.descriptors is not None:
            message = "descriptor files are listed here and named by --descriptors; they belong in one place"
            raise PolicyInvalid([Problem(MANIFEST_FILE, 1, 1, "P138", message)])
        return compile_tables(policy)

    return compile_


def _loosened(old: PolicySet, new: PolicySet) -> list[str]:
    sentences = loosened_quotas(old, new)
    if old.descriptors is not None:
        empty = DescriptorSet(new.revision, {})
        sentences += loosened_descriptors(old.descriptors, new.descriptors or empty)
    return sentences
