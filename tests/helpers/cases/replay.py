"""Runs every built case in both header encodings and says where the service disagrees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import grpc
import grpc.aio

from helpers.cases.judge import difference, is_allow
from helpers.cases.registry import BUILDERS, Before, Case, Expect
from helpers.cases.request import FORMS, Form, Request
from helpers.cases.rig import CaseRig, case_rig

PASSES = Expect(decision="allow")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case in one encoding.

    Attributes:
        problem: Where it differs, empty where it agrees.
        is_looser: The service let something pass that the case refuses.
    """

    case_id: str
    form: Form
    problem: str = ""
    is_looser: bool = False


@dataclass(slots=True)
class Report:
    """What a replay found."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def disagreed(self) -> list[Outcome]:
        """Return the outcomes that differ."""
        return [outcome for outcome in self.outcomes if outcome.problem]

    @property
    def disagreed_ids(self) -> set[str]:
        """Return the ids of the cases that differ in any encoding."""
        return {outcome.case_id for outcome in self.disagreed}

    def lines(self) -> str:
        """Return one line for each difference."""
        return "\n".join(f"{each.case_id} ({each.form}): {each.problem}" for each in self.disagreed)


class Replay:
    """Gives every case in every encoding a client address of its own, so that no limit of one touches another."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def run(self, cases: Iterable[Case]) -> Report:
        """Replay cases that have a builder, one after another."""
        report = Report()
        alone = []
        async with case_rig() as rig:
            for case in cases:
                if BUILDERS[case.id].needs_own_rig:
                    alone.append(case)
                else:
                    report.outcomes.extend([await self._replay(case, form, rig) for form in FORMS])
        for case in alone:
            for form in FORMS:
                store = NOWHERE if case.id == "D28" else "memory:"
                async with case_rig(BUILDERS[case.id].policy, is_issuer_away=case.id in AWAY, store=store) as rig:
                    report.outcomes.append(await self._replay(case, form, rig))
        return report

    async def _replay(self, case: Case, form: Form, rig: CaseRig) -> Outcome:
        number = next(self._numbers)
        address = f"198.18.{number // 256}.{number % 256}"
        index = 0
        try:
            async for made in BUILDERS[case.id].build(rig):
                request, expect = (made.request, PASSES) if isinstance(made, Before) else (made, case.expect(index))
                index += not isinstance(made, Before)
                problem, is_looser = await _judged(rig, _from(request, address), form, expect)
                if problem:
                    return Outcome(case.id, form, f"request {index}: {problem}", is_looser)
        except grpc.aio.AioRpcError as error:
            return Outcome(case.id, form, f"request {index}: no answer, {error.code()}")
        except AssertionError as error:
            return Outcome(case.id, form, str(error) or "a side effect is missing")
        return Outcome(case.id, form, "" if index else "no request was made")


NOWHERE = "redis://127.0.0.1:1"
"""Nothing listens there."""
AWAY = frozenset({"jwks-down-cold-start", "K10"})
"""Cases whose service starts while the issuer cannot be asked."""


def _from(request: Request, address: str) -> Request:
    return request if request.peer_ip else replace(request, peer_ip=address)


async def _judged(rig: CaseRig, request: Request, form: Form, expect: Expect) -> tuple[str, bool]:
    answer = await rig.send(request, form)
    return difference(expect, answer), is_allow(answer) and not expect.is_allow
