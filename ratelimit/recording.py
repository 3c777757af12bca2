"""Writes down what was decided: one decision record and one metric observation a request.

Called by the servicer in `finally`. Nothing here may change a verdict or carry a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.record import RecordSink, time_text
from ratelimit.model import LimitQuery, OverLimit, QuotaState, Verdict
from ratelimit.pipeline import Trail
from ratelimit.warnings import QuotaWarnings

PLAIN_FIELDS: Final = frozenset(
    {"time", "decision_id", "merchant_id", "policy_revision", "amount_minor", "limit", "used"}
)
"""Members whose digits are no card number; masking leaves them alone."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records verdicts of the rate-limit service (protos/decision_record.proto)."""

    sink: RecordSink
    metrics: ServiceMetrics
    clock: Clock
    warnings: QuotaWarnings | None = None

    def record(self, verdict: Verdict, trail: Trail, *, revision: str, started: float) -> None:
        """Write the record of one call that began at monotonic time `started`."""
        seconds = self.clock.monotonic() - started
        name, reason, status = _verdict(verdict)
        self.metrics.decision(name, reason, trail.step, seconds)
        record: dict[str, Any] = {
            "time": time_text(self.clock.wall()),
            "service": "ratelimit",
            "decision_id": trail.decision_id,
            "verdict": name,
            "reason": reason,
            "step": trail.step,
            "policy_revision": revision,
            "duration_us": int(seconds * 1e6),
            "http_status": status,
            "readings": [_reading(state) for state in verdict.states],
        }
        if verdict.deciding is not None:
            record["quota"] = verdict.deciding.quota
        if isinstance(verdict, OverLimit) and verdict.detail:
            record["detail"] = verdict.detail
        if trail.query is not None:
            record.update(_facts(trail))
            self._warn(trail.query, verdict)
        self.sink.write(record)

    def _warn(self, query: LimitQuery, verdict: Verdict) -> None:
        if self.warnings is not None and any(state.crossed for state in verdict.states):
            self.warnings.note(query.merchant_id, verdict.states)


def _verdict(verdict: Verdict) -> tuple[str, str, int]:
    if isinstance(verdict, OverLimit):
        return "over_limit", verdict.reason.code, verdict.reason.spec.http_status
    return "within_limit", "store_failure_allowed" if verdict.is_without_store else "within_limit", 200


def _reading(state: QuotaState) -> dict[str, Any]:
    return {
        "quota": state.quota,
        "limit": str(state.limit),
        "used": str(state.used),
        "over": state.is_over,
        "shadow": state.is_shadow,
    }


def _facts(trail: Trail) -> dict[str, Any]:
    query = trail.query
    if query is None:
        return {}
    facts = {"merchant_id": query.merchant_id, "operation": query.operation}
    if query.amount_minor is not None and query.currency is not None:
        facts |= {"amount_minor": str(query.amount_minor), "currency": query.currency}
    return facts
