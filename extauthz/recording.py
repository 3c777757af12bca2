"""Writes down what was decided: one decision record and one metric observation a request.

Called by the servicer in `finally`. Nothing here may change a verdict or carry a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from chassis.clock import Clock
from chassis.metrics import ServiceMetrics
from chassis.record import RecordSink, time_text
from extauthz.model import Allow, AuthzRequest, Decision
from extauthz.payment import AMOUNT, CURRENCY
from extauthz.pipeline import Trail
from extauthz.wire import Stamp

PLAIN_FIELDS: Final = frozenset({"time", "decision_id", "merchant_id", "policy_revision", "amount_minor", "card_key"})
"""Members whose text is no card number and no token; masking leaves them alone."""

_MAX_TEXT: Final = 256
"""Characters of a text that the caller chose: thousands of records may wait, and each keeps its texts."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records decisions of ext_authz (protos/decision_record.proto)."""

    sink: RecordSink
    metrics: ServiceMetrics
    clock: Clock

    def record(
        self, decision: Decision, trail: Trail, stamp: Stamp, request: AuthzRequest | None, started: float
    ) -> None:
        """Write the record of one check that began at monotonic time `started`."""
        seconds = self.clock.monotonic() - started
        verdict, reason, status = _verdict(decision)
        self.metrics.decision(verdict, reason, trail.step, seconds)
        record: dict[str, Any] = {
            "time": time_text(self.clock.wall()),
            "service": "extauthz",
            "decision_id": stamp.decision_id,
            "verdict": verdict,
            "reason": reason,
            "step": trail.step,
            "policy_revision": stamp.policy_revision,
            "duration_us": int(seconds * 1e6),
            "http_status": status,
            **_facts(trail, request),
        }
        if not isinstance(decision, Allow) and decision.detail:
            record["detail"] = decision.detail
        self.sink.write(record)


def _verdict(decision: Decision) -> tuple[str, str, int]:
    if isinstance(decision, Allow):
        return "allow", "review" if decision.is_review else "allow", 200
    verdict = type(decision).__name__.lower()
    return verdict, decision.reason.code, decision.reason.spec.http_status


def _facts(trail: Trail, request: AuthzRequest | None) -> dict[str, Any]:
    """Return what was learnt, without what is empty."""
    facts: dict[str, Any] = {
        "operation": trail.operation,
        "merchant_id": trail.merchant_id,
        "rules": list(trail.risk.fired),
        "shadow_rules": list(trail.risk.shadow_fired),
        "unknown_attributes": list(trail.risk.unknown_attributes),
    }
    if request is not None:
        facts["request_id"] = request.request_id[:_MAX_TEXT]
        facts["peer_ip"] = request.peer_ip
    if trail.principal is not None:
        facts["client_id"] = trail.principal.client_id[:_MAX_TEXT]
        facts["token_issuer"] = trail.principal.token_issuer
        facts["acr"], facts["actor"] = trail.principal.acr[:_MAX_TEXT], trail.principal.actor[:_MAX_TEXT]
    if trail.card_keys:
        facts["card_key"] = trail.card_keys[0]
    if AMOUNT in trail.payment:
        facts["amount_minor"] = str(trail.payment[AMOUNT])
        facts["currency"] = trail.payment.get(CURRENCY)
    return {name: value for name, value in facts.items() if value}
