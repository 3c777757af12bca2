"""The cases as the YAML files state them, and the builders that make requests of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from helpers.cases.request import Request

if TYPE_CHECKING:
    from helpers.cases.rig import CaseRig

FOLDER = Path(__file__).parents[2] / "cases"
REFUSED_LOADS = "load"


@dataclass(frozen=True, slots=True)
class Before:
    """A request that comes before the case's own and must pass."""

    request: Request


Build = Callable[["CaseRig"], AsyncIterator[Request | Before]]


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the requests of one case.

    Attributes:
        build: Yields one request after another; what it does after a `yield` happens after the answer.
        needs_own_rig: It breaks the issuer or the clock, so nobody else may share them.
        policy: Changes of the policy set: file, text, what stands there instead.
    """

    build: Build
    needs_own_rig: bool
    policy: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Expect:
    """What one answer must be; None and empty ask nothing.

    Attributes:
        decision: `allow`, `deny` or `error`; empty where the status alone is asked.
        error: Error code of the challenge; the word `none` asks that there is no code.
    """

    decision: str = ""
    http: int | None = None
    grpc_code: int | None = None
    reason: str = ""
    error: str = ""
    challenge: tuple[str, ...] = ()
    headers: tuple[str | dict[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    never_in_body: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_allow(self) -> bool:
        """Say whether the request must pass."""
        return self.decision == "allow" or (not self.decision and self.http in (200, 202))


@dataclass(frozen=True, slots=True)
class Case:
    """One case of tests/cases/*.yaml."""

    id: str
    level: str
    area: str
    given: str
    is_out_of_scope: bool
    rows: tuple[Expect, ...]
    load: str

    def expect(self, index: int) -> Expect:
        """Return what the answer to the request of this number must be."""
        return self.rows[min(index, len(self.rows) - 1)]

    @property
    def is_positive(self) -> bool:
        """Say whether some request of it must pass."""
        return any(row.is_allow for row in self.rows)

    @property
    def is_negative(self) -> bool:
        """Say whether some request of it must not pass."""
        return any(not row.is_allow for row in self.rows)


def load_cases() -> dict[str, Case]:
    """Read both case files."""
    cases: dict[str, Case] = {}
    for name in ("tokens.yaml", "extauthz.yaml"):
        for entry in yaml.safe_load((FOLDER / name).read_text("utf-8"))["cases"]:
            case = _case(entry)
            assert case.id not in cases, f"{case.id} stands twice"
            cases[case.id] = case
    return cases


def _case(entry: dict[str, Any]) -> Case:
    expect = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.get("expect", {}).items()
    }
    load = expect.pop(REFUSED_LOADS, "")
    expect.pop("grpc_status", None)  # what a gRPC client of Envoy sees; only a real Envoy shows it
    decisions = expect.pop("rows", None)
    rows = tuple(Expect(decision=word, **expect) for word in decisions) if decisions else (Expect(**expect),)
    return Case(
        id=entry["id"],
        level=entry.get("level", "authz"),
        area=entry.get("area", ""),
        given=entry.get("given", ""),
        is_out_of_scope=entry.get("out_of_scope", False),
        rows=rows,
        load=load,
    )


BUILDERS: dict[str, Builder] = {}


def builds(
    *ids: str, needs_own_rig: bool = False, policy: tuple[tuple[str, str, str], ...] = ()
) -> Callable[[Build], Build]:
    """Register a builder for cases; one with changes of the policy has a rig of its own."""

    def register(build: Build) -> Build:
        for case_id in ids:
            assert case_id not in BUILDERS, f"{case_id} has two builders"
            BUILDERS[case_id] = Builder(build, needs_own_rig or bool(policy), policy)
        return build

    return register
