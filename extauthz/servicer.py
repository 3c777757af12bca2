"""Envoy calls `check` once per request; the steps below are the whole story.

parse → select → authenticate → authorize → assess → render. The one `except Exception` of the service
stands here: its text never leaves the process, and it can only end in `Unavailable`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis.clock import Clock
from chassis.ids import Ids
from extauthz.model import AuthzRequest, Decision, Deny, Unavailable
from extauthz.pipeline import Trail, decide
from extauthz.reasons import Reason
from extauthz.recording import Recorder
from extauthz.tables import Tables
from extauthz.wire import Stamp, parse_check_request, render_check_response

CHECK_METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"
BUDGET_SHARE: Final = 0.8  # of Envoy's deadline; the rest is for rendering and the way back

_OVERLOADED: Final = Unavailable(Reason.OVERLOADED)

log = logging.getLogger("extauthz")


@dataclass(slots=True)
class _Call:
    """What is known of one call, for the record, whichever way it ends."""

    trail: Trail
    request: AuthzRequest | None = None
    decision: Decision | None = None


class AuthorizationServicer:
    """Answers `envoy.service.auth.v3.Authorization/Check`."""

    def __init__(
        self, tables: Callable[[], Tables | None], recorder: Recorder, *, clock: Clock, ids: Ids, stamp: Stamp
    ) -> None:
        """Wire the servicer.

        Args:
            tables: Returns the active snapshot, or None when no policy is loaded.
            recorder: Takes every verdict.
            clock: Monotonic time for deadlines.
            ids: Fresh decision ids.
            stamp: Its `errors_uri` and `realm` go into every answer.
        """
        self._tables = tables
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._stamp = stamp

    async def check(self, message: bytes, deadline: float) -> bytes:
        """Decide one CheckRequest; always renders an answer, its own faults included."""
        started = self._clock.monotonic()
        tables = self._tables()
        stamp = self._fresh_stamp(tables)
        call = _Call(Trail())
        try:
            call.decision = await self._decide(tables, call, message, started + (deadline - started) * BUDGET_SHARE)
            if not call.trail.takes_bearer:
                stamp = stamp._replace(takes_bearer=False)
            return render_check_response(call.decision, stamp, call.request)
        except asyncio.CancelledError:
            call.decision = Unavailable(Reason.DEADLINE_EXCEEDED, detail="the call ended before its answer")
            raise
        except Exception:
            log.exception("check failed, decision %s", stamp.decision_id)
            call.decision = Unavailable(Reason.INTERNAL)
            return render_check_response(call.decision, stamp, call.request)
        finally:
            self._recorder.record(
                Unavailable(Reason.INTERNAL) if call.decision is None else call.decision,
                call.trail,
                stamp,
                call.request,
                started,
            )

    def shed(self) -> bytes:
        """Answer a check that there is no time or room for; nothing of it is read, so that a flood costs little."""
        stamp = self._fresh_stamp(self._tables())
        self._recorder.record(_OVERLOADED, Trail(step="receive"), stamp, None, self._clock.monotonic())
        return render_check_response(_OVERLOADED, stamp, None)

    def _fresh_stamp(self, tables: Tables | None) -> Stamp:
        revision = tables.revision if tables else ""
        return Stamp(
            self._ids.decision_id(),
            revision,
            self._stamp.errors_uri,
            self._stamp.realm,
            dpop_algorithms=tables.dpop_algorithms if tables else "",
            resource_metadata=tables.resource_metadata if tables else "",
        )

    async def _decide(self, tables: Tables | None, call: _Call, message: bytes, deadline: float) -> Decision:
        if tables is None:
            return Unavailable(Reason.POLICY_UNAVAILABLE)
        if self._clock.monotonic() >= deadline:
            return Unavailable(Reason.DEADLINE_EXCEEDED)
        request = parse_check_request(message, reads_claims=tables.gate.reads_envoy_claims)
        if isinstance(request, Deny):
            return request
        call.request = request
        return await decide(tables, request, call.trail, deadline, self._clock)
