"""Runs the quota tests of a policy set through the service's own code, on a store in memory and a clock that stands.

Called by `tollhouse test`. Its law: a payment of a test takes the same steps as one that Envoy sends, from `match` on;
nothing here decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from policy.checks.quota_tests import moment_seconds
from policy.handoff import PaymentIdentity
from policy.loader import PolicySet
from policy.schema.durations import duration_seconds
from policy.schema.quota_tests import QuotaTest, TestExpectation, TestPayment, TestStep
from ratelimit.compile import compile_tables
from ratelimit.ledger import Outcome, Settlement
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import LimitQuery, OverLimit, QuotaState, Verdict, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.posting import hold_about, hold_key
from ratelimit.tables import Tables
from ratelimit.usage import look_at
from ratelimit.window import Windows

_DEADLINE_SECONDS: Final = 1.0  # of a clock that stands: never reached
_OUTCOMES: Final = {"approved": Outcome.SPENT, "declined": Outcome.RELEASED, "in_doubt": Outcome.IN_DOUBT}


@dataclass(slots=True)
class StandingClock:
    """A `Clock` that only `now` moves; it is both the service's and the store's."""

    now: float = 0.0

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self.now

    def monotonic(self) -> float:
        """Return the same seconds: durations in a test are what its steps say."""
        return self.now


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one test.

    Attributes:
        file: Where the test stands.
        name: Of the test.
        path: From the file's root to the step that went wrong, else to the test.
        title: Which step that is, in words.
        differences: A line each; empty for a test that passed.
        quotas: Ids of the quotas that its payments were judged by.
    """

    __test__ = False

    file: str
    name: str
    path: tuple[str | int, ...]
    title: str = ""
    differences: tuple[str, ...] = ()
    quotas: frozenset[str] = frozenset()


async def run_quota_tests(policy: PolicySet) -> list[TestResult]:
    """Run every test of a set; each has a store of its own."""
    tables = compile_tables(policy)
    return [
        await _run(tables, test, file, index)
        for file, tests in policy.tests.items()
        for index, test in enumerate(tests.quota_tests)
    ]


async def _run(tables: Tables, test: QuotaTest, file: str, index: int) -> TestResult:
    rig = _Rig.of(tables, moment_seconds(test.at))
    for position, step in enumerate(test.steps):
        differences = await rig.take(step)
        if differences:
            path = ("quota_tests", index, "steps", position)
            title = f"step {position + 1}: {_step_words(step)}"
            return TestResult(file, test.name, path, title, tuple(differences), frozenset(rig.quotas))
    return TestResult(file, test.name, ("quota_tests", index), quotas=frozenset(rig.quotas))


def _step_words(step: TestStep) -> str:
    if step.pay is None:
        return f"outcome {step.outcome}" if step.outcome else "time passes"
    pay = step.pay
    amount = "" if pay.amount_minor is None else f" {pay.amount_minor} {pay.currency}"
    named = {name: getattr(pay, name) for name in ("card", "payer", "device", "ip", "sub_merchant")}
    about = "".join(f" {name} {word}" for name, word in named.items() if word)
    return f"{pay.merchant} {pay.operation}{amount}{about}" + (f", {step.times} times" if step.times > 1 else "")


@dataclass(slots=True)
class _Rig:
    """One test while it runs."""

    tables: Tables
    clock: StandingClock
    engine: Engine
    quotas: set[str] = field(default_factory=set)
    named: dict[str, LimitQuery] = field(default_factory=dict)
    last: LimitQuery | None = None
    refused: set[str] = field(default_factory=set)
    payments: int = 0

    @classmethod
    def of(cls, tables: Tables, now: float) -> _Rig:
        clock = StandingClock(now)
        return cls(tables, clock, Engine(MemoryLedger(clock), Windows(), clock))

    async def take(self, step: TestStep) -> list[str]:
        """Do one step; return what differs from what is expected."""
        if step.after is not None:
            self.clock.now += duration_seconds(step.after)
        if step.at is not None:
            self.clock.now = moment_seconds(step.at)
        if step.pay is not None:
            return await self._pay(step, step.pay)
        return await self._settle(step) if step.outcome is not None else []

    async def _pay(self, step: TestStep, payment: TestPayment) -> list[str]:
        for left in range(step.times - 1, -1, -1):
            verdict = await self._decide(payment, step.id if left == 0 else None)
            if left and isinstance(verdict, OverLimit):
                return [f"payment {step.times - left} of {step.times}: got {_verdict_words(verdict)}"]
            if left and step.every is not None:
                self.clock.now += duration_seconds(step.every)
        return [] if step.expect is None else _differences(step.expect, verdict, verdict.states)

    async def _decide(self, payment: TestPayment, name: str | None) -> Verdict:
        self.payments += 1
        query = _query(payment, f"{self.payments:032x}", self.tables.revision)
        verdict = await decide(self.tables, query, Trail(query.decision_id), self._deadline(), self.engine)
        self.quotas |= {state.quota for state in verdict.states}
        if isinstance(verdict, OverLimit):
            self.refused.add(query.decision_id)
        if name is not None:
            self.named[name] = query
        self.last = query
        return verdict

    async def _settle(self, step: TestStep) -> list[str]:
        query = self.named[step.of] if step.of is not None else self.last
        if query is None or query.decision_id in self.refused:
            return ["the payment was refused, so nothing of it can have an outcome"]
        if step.outcome in _OUTCOMES:
            key = hold_key(query.merchant_id, query.decision_id)
            about = hold_about(query.merchant_id, query.operation, query.currency, query.amount_minor)
            settlement = Settlement(key, query.decision_id, about, _OUTCOMES[step.outcome])
            await self.engine.ledger.settle(settlement, self._deadline())
        if step.expect is None:
            return []
        states = await look_at(self.tables, query, self._deadline(), self.engine)
        return _count_differences(step.expect, () if isinstance(states, OverLimit) else states)

    def _deadline(self) -> float:
        return self.clock.monotonic() + _DEADLINE_SECONDS


def _query(payment: TestPayment, decision_id: str, revision: str) -> LimitQuery:
    return LimitQuery(
        merchant_id=payment.merchant,
        operation=payment.operation,
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        decision_id=decision_id,
        policy_revision=revision,
        card_keys=_digests(payment.card),
        payers=_digests(payment.payer),
        devices=_digests(payment.device),
        addresses=_digests(payment.ip),
        sub_merchant=payment.sub_merchant or "",
        identity=_identity(payment),
    )


def _identity(payment: TestPayment) -> PaymentIdentity | None:
    if payment.idempotency_key is None:
        return None
    key = f"{payment.merchant} {payment.operation} {payment.idempotency_key}"
    return PaymentIdentity(_digest(key), _digest(payment.model_dump_json()))


def _digests(word: str | None) -> tuple[str, ...]:
    """Return what stands for a word as a keyed hash would: one name for each, and nothing of it in a counter's key."""
    return () if word is None else (f"test.{_digest(word)}",)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _verdict_words(verdict: Verdict) -> str:
    if isinstance(verdict, WithinLimit):
        return "within_limit"
    by = f", by {verdict.deciding.quota}" if verdict.deciding is not None else ""
    return f"over_limit ({verdict.reason.code}{by})"


def _differences(expect: TestExpectation, verdict: Verdict, states: Sequence[QuotaState]) -> list[str]:
    got: dict[str, object] = {"decision": "within_limit", "reason": None, "quota": None, "retry_after_seconds": 0}
    if isinstance(verdict, OverLimit):
        got = {
            "decision": "over_limit",
            "reason": verdict.reason.code,
            "quota": verdict.deciding.quota if verdict.deciding is not None else None,
            "retry_after_seconds": verdict.retry_after_seconds or 0,
        }
    wanted = expect.model_dump(include=set(got), exclude_none=True)
    if wanted.get("reason") or wanted.get("quota"):
        wanted.setdefault("decision", "over_limit")
    lines = [
        f"{name}: expected {value}, got {_verdict_words(verdict) if name == 'decision' else got[name]}"
        for name, value in wanted.items()
        if got[name] != value
    ]
    over = sorted({state.quota for state in states if state.is_over})
    if expect.over is not None and sorted(expect.over) != over:
        lines.append(f"over: expected {_listed(sorted(expect.over))}, got {_listed(over)}")
    return [*lines, *_count_differences(expect, states)]


def _listed(quotas: Sequence[str]) -> str:
    return ", ".join(quotas) or "none"


def _count_differences(expect: TestExpectation, states: Sequence[QuotaState]) -> list[str]:
    used = {state.quota: state.used for state in states}
    remaining = {state.quota: max(0, state.limit - state.used) for state in states}
    return [*_compared("used", expect.used, used), *_compared("remaining", expect.remaining, remaining)]


def _compared(word: str, expected: Mapping[str, int], got: Mapping[str, int]) -> Iterator[str]:
    for quota, value in expected.items():
        if quota not in got:
            yield f"{word} {quota}: expected {value}, but the payment is not counted by it"
        elif got[quota] != value:
            yield f"{word} {quota}: expected {value}, got {got[quota]}"
