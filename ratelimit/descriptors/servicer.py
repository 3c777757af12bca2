"""Dispatches by domain: our own goes to the quotas, every other one is looked up in the descriptor files.

Its law is the quotas' servicer's: what fails in here ends over limit. The one exception is what an operator asked for
with `on_store_failure: error`, which is what envoyproxy/ratelimit does: the call ends UNKNOWN and Envoy decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis.ids import Ids
from chassis.rpc import RpcError, StatusCode
from policy.descriptors.tree import DescriptorSet
from policy.handoff import DOMAIN
from ratelimit.descriptors.engine import DescriptorEngine, StoreFailed
from ratelimit.descriptors.model import DescriptorAnswer, DescriptorQuery, EngineOptions
from ratelimit.descriptors.tally import MAX_HITS_PER_TALLY
from ratelimit.descriptors.wire import parse_descriptor_query, render_answer
from ratelimit.model import OverLimit
from ratelimit.pipeline import Trail
from ratelimit.reasons import Reason
from ratelimit.recording import Recorder
from ratelimit.servicer import BUDGET_SHARE, RateLimitServicer
from ratelimit.wire import render_rate_limit_response

# Field 1 comes first in what Envoy writes: our own domain is told without parsing the message twice.
_OURS: Final = b"\x0a" + bytes([len(DOMAIN)]) + DOMAIN.encode()
_RETRY_SECONDS: Final = 1

NO_DOMAIN: Final = "rate limit domain must not be empty"
NO_DESCRIPTORS: Final = "rate limit descriptor list must not be empty"
NO_CONFIGURATION: Final = "no rate limit configuration loaded"
NO_STORE: Final = "the counter store gave no answer"

MAX_DESCRIPTORS: Final = MAX_HITS_PER_TALLY - 1
"""One place is left for what `stores` adds."""

log = logging.getLogger("ratelimit")


@dataclass(frozen=True, slots=True)
class Engines:
    """The two ways to count; which one holds is said by the set, and may change when it is reloaded.

    Attributes:
        default: For sets of our own.
        compat: For sets that are counted as envoyproxy/ratelimit does.
        is_compat_unloaded: Which way to answer while there is no set.
    """

    default: DescriptorEngine
    compat: DescriptorEngine
    is_compat_unloaded: bool = False

    def of(self, rules: DescriptorSet | None) -> DescriptorEngine:
        """Return the engine for a set."""
        is_compat = self.is_compat_unloaded if rules is None else rules.is_compat
        return self.compat if is_compat else self.default


@dataclass(frozen=True, slots=True)
class DescriptorService:
    """What the servicer works with.

    Attributes:
        rules: Returns the active set, or None when none is loaded.
        engines: Count.
        recorder: Takes every verdict.
        ids: Fresh decision ids.
        errors_uri: Where docs/errors.md is published.
    """

    rules: Callable[[], DescriptorSet | None]
    engines: Engines
    recorder: Recorder
    ids: Ids
    errors_uri: str


class DomainServicer:
    """Answers `ShouldRateLimit` where descriptor files are served beside or instead of quotas."""

    def __init__(self, quotas: RateLimitServicer, service: DescriptorService) -> None:
        self._quotas = quotas
        self._service = service
        self._clock = service.engines.default.clock

    async def should_rate_limit(self, message: bytes, deadline: float) -> bytes:
        """Judge one RateLimitRequest.

        Raises:
            RpcError: UNKNOWN, where the options ask for what envoyproxy/ratelimit does.
        """
        if message.startswith(_OURS):
            return await self._quotas.should_rate_limit(message, deadline)
        rules = self._service.rules()
        engine = self._service.engines.of(rules)
        query = parse_descriptor_query(message)
        is_undefined = rules is None and not engine.options.is_compat
        if query is None or query.domain == DOMAIN or is_undefined:
            # Of what has no descriptor files at all, the quotas know what to say: an unknown domain, or no policy yet.
            return await self._quotas.should_rate_limit(message, deadline)
        return await self.answer(query, deadline)

    async def answer(self, query: DescriptorQuery, deadline: float) -> bytes:
        """Judge a parsed request of another domain than ours; see `should_rate_limit`."""
        started = self._clock.monotonic()
        rules = self._service.rules()
        engine = self._service.engines.of(rules)
        trail = Trail(self._service.ids.decision_id(), step="judge")
        answer = _refused(Reason.INTERNAL)  # the only pre-set value is "no verdict"
        try:
            answer = await _judge(engine, rules, query, started + (deadline - started) * BUDGET_SHARE)
            return self._render(answer, query, trail, engine.options)
        except StoreFailed:
            answer = _refused(Reason.STORE_UNAVAILABLE)
            raise RpcError(StatusCode.UNKNOWN, NO_STORE) from None
        except RpcError as error:
            answer = _refused(Reason.LIMIT_REQUEST_INVALID, error.message)
            raise
        except asyncio.CancelledError:
            answer = _refused(Reason.INTERNAL, "the call ended before its answer")
            raise
        except Exception:
            log.exception("ShouldRateLimit failed")
            answer = _refused(Reason.INTERNAL)
            return self._render(answer, query, trail, engine.options)
        finally:
            revision = "" if rules is None else rules.revision
            self._service.recorder.record(answer.verdict, trail, revision=revision, started=started)

    def _render(self, answer: DescriptorAnswer, query: DescriptorQuery, trail: Trail, options: EngineOptions) -> bytes:
        if answer.statuses:
            return render_answer(answer, query, options)
        return render_rate_limit_response(
            answer.verdict, decision_id=trail.decision_id, errors_uri=self._service.errors_uri
        )


async def _judge(
    engine: DescriptorEngine, rules: DescriptorSet | None, query: DescriptorQuery, deadline: float
) -> DescriptorAnswer:
    problem = _problem(rules, query)
    if rules is None or problem:
        if engine.options.is_compat:
            raise RpcError(StatusCode.UNKNOWN, problem)
        reason = Reason.POLICY_UNAVAILABLE if rules is None else Reason.LIMIT_REQUEST_INVALID
        return _refused(reason, problem)
    if len(query.descriptors) > MAX_DESCRIPTORS:
        return _refused(Reason.LIMIT_REQUEST_INVALID, "more descriptors than one request may have")
    if engine.clock.monotonic() >= deadline:
        return _refused(Reason.OVERLOADED)
    return await engine.decide(rules, query, deadline)


def _problem(rules: DescriptorSet | None, query: DescriptorQuery) -> str:
    """Say what keeps a request from being looked up, in envoyproxy/ratelimit's words; empty for nothing."""
    if not query.domain:
        return NO_DOMAIN
    if not query.descriptors:
        return NO_DESCRIPTORS
    return NO_CONFIGURATION if rules is None else ""


def _refused(reason: Reason, detail: str = "") -> DescriptorAnswer:
    retry = _RETRY_SECONDS if reason.spec.retry == "later" else None
    return DescriptorAnswer(OverLimit(reason, retry_after_seconds=retry, detail=detail))
