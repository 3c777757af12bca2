"""Envoy calls `should_rate_limit` once per request that the gate let through.

parse → match → key → hit → judge → render. The one `except Exception` of the service stands here: its
text never leaves the process, and it can only end in over limit with status 503.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from chassis.ids import Ids
from ratelimit.model import OverLimit, Verdict
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.reasons import Reason
from ratelimit.recording import Recorder
from ratelimit.tables import Tables
from ratelimit.wire import parse_rate_limit_request, render_rate_limit_response

SHOULD_RATE_LIMIT_METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
BUDGET_SHARE: Final = 0.8  # of Envoy's deadline; the rest is for rendering and the way back
_RETRY_SECONDS: Final = 1

log = logging.getLogger("ratelimit")


class RateLimitServicer:
    """Answers `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`."""

    def __init__(
        self, tables: Callable[[], Tables | None], engine: Engine, recorder: Recorder, *, ids: Ids, errors_uri: str
    ) -> None:
        """Wire the servicer.

        Args:
            tables: Returns the active snapshot, or None when no policy is loaded.
            engine: Store, windows and clock.
            recorder: Takes every verdict.
            ids: Fresh decision ids, for calls that bring none.
            errors_uri: Where docs/errors.md is published.
        """
        self._tables = tables
        self._engine = engine
        self._recorder = recorder
        self._ids = ids
        self._errors_uri = errors_uri

    async def should_rate_limit(self, message: bytes, deadline: float) -> bytes:
        """Judge one RateLimitRequest; always renders an answer, its own faults included."""
        clock = self._engine.clock
        started = clock.monotonic()
        tables = self._tables()
        trail = Trail(self._ids.decision_id())
        verdict: Verdict = _unavailable(Reason.INTERNAL)  # the only pre-set value is "no verdict"
        try:
            verdict = await self._judge(tables, trail, message, started + (deadline - started) * BUDGET_SHARE)
            return self._render(verdict, trail)
        except asyncio.CancelledError:
            verdict = OverLimit(Reason.INTERNAL, detail="the call ended before its answer")
            raise
        except Exception:
            log.exception("ShouldRateLimit failed")
            verdict = _unavailable(Reason.INTERNAL)
            return self._render(verdict, trail)
        finally:
            self._recorder.record(verdict, trail, revision=tables.revision if tables else "", started=started)

    def shed(self) -> bytes:
        """Answer a call that there is no time or room for; nothing of it is read, so that a flood costs little."""
        tables = self._tables()
        trail = Trail(self._ids.decision_id(), step="receive")
        verdict = _unavailable(Reason.OVERLOADED)
        started = self._engine.clock.monotonic()
        self._recorder.record(verdict, trail, revision=tables.revision if tables else "", started=started)
        return self._render(verdict, trail)

    async def _judge(self, tables: Tables | None, trail: Trail, message: bytes, deadline: float) -> Verdict:
        if tables is None:
            return _unavailable(Reason.POLICY_UNAVAILABLE)
        if self._engine.clock.monotonic() >= deadline:
            return _unavailable(Reason.OVERLOADED)
        query = parse_rate_limit_request(message)
        if isinstance(query, OverLimit):
            return query
        trail.query = query
        trail.decision_id = query.decision_id
        return await decide(tables, query, trail, deadline, self._engine)

    def _render(self, verdict: Verdict, trail: Trail) -> bytes:
        return render_rate_limit_response(verdict, decision_id=trail.decision_id, errors_uri=self._errors_uri)


def _unavailable(reason: Reason) -> OverLimit:
    return OverLimit(reason, retry_after_seconds=_RETRY_SECONDS)
