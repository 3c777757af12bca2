"""An open load of payments through the gate, and the judgement of what came of it.

Payments that must pass and payments that must be refused come in turns at a bounded rate, whether or not the
earlier ones were answered. The upstream's own journal judges what was let through.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

import aiohttp

from helpers.issuer import SigningKey, good_claims, mint
from helpers.life_policy import DECLINED, MERCHANT, OTHER_DECLINED, SINGLE_LIMIT, SMALL_MERCHANT
from helpers.waiting import until

ENVOY_BOUND_SECONDS = 12.0
"""1 s for each service and 10 s for the upstream: what envoy/tollhouse.yaml grants a request in all."""

_CLIENT_SECONDS = 20.0  # longer than the bound, so that a missing answer is seen and not cut off
_MARGIN_SECONDS = 3.0  # for a machine that is busy with other things
_SOURCES = tuple(f"127.0.0.{last}" for last in range(11, 17))
"""Callers' addresses: the flood shield of envoy/tollhouse.yaml grants each 100 requests a second."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of payment.

    Attributes:
        name: Begins each reference of this kind.
        status: What must come out; 200 is a payment that must pass.
        reason: The reason in the problem, None for 200.
    """

    name: str
    status: int
    reason: str | None = None
    merchant: str = MERCHANT
    minor_units: int = 1250
    country: str = "DE"
    is_expired: bool = False


PAY = Kind("pay", 200)
EXPIRED = Kind("expired", 401, "access_token_expired", is_expired=True)
DECLINE = Kind("decline", 403, "payment-blocked", country=DECLINED)
OTHER_DECLINE = Kind("other", 403, "payment-blocked", country=OTHER_DECLINED)
OVER_SINGLE = Kind("over", 403, "single_limit_exceeded", SMALL_MERCHANT, SINGLE_LIMIT + 1)
MIX = (PAY, EXPIRED, PAY, DECLINE, PAY, OVER_SINGLE, PAY)
"""Four of seven must pass, three are refused by three different steps."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request and its answer.

    Attributes:
        sent: Monotonic seconds.
        seconds: From sending to the whole answer, or to its failure.
        status: 0 when no answer came.
    """

    kind: Kind
    reference: str
    sent: float
    seconds: float
    status: int
    reason: str | None
    request_id: str | None

    @property
    def is_right(self) -> bool:
        """Whether this is the answer that policy gives."""
        return (self.status, self.reason) == (self.kind.status, self.kind.reason)

    @property
    def word(self) -> str:
        """Status and reason, for a person."""
        return f"{self.status} {self.reason}" if self.reason else str(self.status)


class Tokens:
    """Access tokens, most of them seen before and some new, as merchants send them."""

    def __init__(self, key: SigningKey, issuer_url: str) -> None:
        self._key = key
        self._issuer_url = issuer_url
        self._numbers = count()
        self._kept: dict[tuple[str, bool], str] = {}

    def token(self, kind: Kind) -> str:
        """Return the merchant's token; every tenth is a new one."""
        who = (kind.merchant, kind.is_expired)
        if next(self._numbers) % 10 == 0 or who not in self._kept:
            self._kept[who] = self._mint(kind)
        return self._kept[who]

    def _mint(self, kind: Kind) -> str:
        now = time.time() - (7200 if kind.is_expired else 0)
        claims = good_claims(
            self._issuer_url, now, jti=f"t{next(self._numbers)}", merchant_id=kind.merchant, exp=int(now) + 3600
        )
        return mint(self._key, claims)


@dataclass
class Load:
    """A load that runs; `sent` and `outcomes` grow while it does.

    Attributes:
        journal: The upstream's.
        rate: Requests a second.
        run: Part of each reference, so that the journal tells one load from another.
    """

    url: str
    journal: Path
    tokens: Tokens
    kinds: Sequence[Kind] = MIX
    rate: float = 70.0
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    sent: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Send meanwhile; every request has its outcome when this is left."""
        async with contextlib.AsyncExitStack() as stack:
            sessions = [await stack.enter_async_context(_session(source)) for source in _SOURCES]
            is_over = asyncio.Event()
            sending = asyncio.create_task(self._send_all(sessions, is_over))
            try:
                yield self
            finally:
                is_over.set()
                await sending

    async def goes_on(self, seconds: float) -> None:
        """Wait until the requests of this many seconds were sent, whatever becomes of them."""
        wanted = self.sent + seconds * self.rate
        await until(lambda: self.sent >= wanted, seconds * 5 + 10)

    async def recovers(self, back_at: float, within_seconds: float) -> None:
        """Wait until a second's requests in a row, sent since `back_at`, were answered as policy says."""
        in_a_row = int(self.rate)

        def is_well() -> bool:
            since = sorted((item for item in self.outcomes if item.sent >= back_at), key=lambda item: item.sent)
            return len(since) >= in_a_row and all(item.is_right for item in since[-in_a_row:])

        await until(is_well, within_seconds)

    def arrived(self) -> list[str]:
        """Return the references of those payments of this load that the upstream saw."""
        seen = self.journal.read_text("utf-8").split() if self.journal.exists() else []
        return [reference for reference in seen if f"-{self.run}-" in reference]

    async def _send_all(self, sessions: Sequence[aiohttp.ClientSession], is_over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        started, numbers = loop.time(), count()
        requests: set[asyncio.Task[None]] = set()
        for number, kind, session in zip(numbers, cycle(self.kinds), cycle(sessions), strict=False):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(started + number / self.rate):
                    await is_over.wait()
            if is_over.is_set():
                break
            request = asyncio.create_task(self._send(session, kind, f"{kind.name}-{self.run}-{number}"))
            self.sent += 1
            requests.add(request)
            request.add_done_callback(requests.discard)
        await asyncio.gather(*requests)

    async def _send(self, session: aiohttp.ClientSession, kind: Kind, reference: str) -> None:
        body = {
            "merchant_id": kind.merchant,
            "amount": {"minor_units": kind.minor_units, "currency": "EUR"},
            "card": {"country": kind.country},
            "reference": reference,
        }
        headers = {"authorization": f"Bearer {self.tokens.token(kind)}"}
        sent = time.monotonic()
        status, reason, request_id = 0, None, None
        try:
            async with session.post(self.url, json=body, headers=headers) as answer:
                text = await answer.read()
                status, request_id = answer.status, answer.headers.get("x-request-id")
                reason = None if status == 200 else _reason(text)
        except (aiohttp.ClientError, OSError) as error:
            reason = type(error).__name__
        seconds = time.monotonic() - sent
        self.outcomes.append(Outcome(kind, reference, sent, seconds, status, reason, request_id))


def _session(source: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(local_addr=(source, 0), limit=200),
        timeout=aiohttp.ClientTimeout(total=_CLIENT_SECONDS),
    )


def _reason(body: bytes) -> str | None:
    try:
        reason = json.loads(body).get("reason")
    except (ValueError, AttributeError):
        return "no problem document"
    return None if reason is None else str(reason)


def wrongly_allowed(references: Iterable[str], kinds: Sequence[Kind] = MIX) -> list[str]:
    """Return the references that the upstream saw although policy refuses them."""
    may_pass = {kind.name for kind in kinds if kind.status == 200}
    return [reference for reference in references if reference.partition("-")[0] not in may_pass]


def wrong_answers(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how often something else came than policy says, by kind and answer."""
    return dict(Counter(f"{item.kind.name}: {item.word}" for item in outcomes if not item.is_right))


def late_answers(outcomes: Iterable[Outcome]) -> list[tuple[str, float]]:
    """Return the answers that came later than Envoy's own deadlines allow."""
    return [(item.reference, item.seconds) for item in outcomes if item.seconds > ENVOY_BOUND_SECONDS + _MARGIN_SECONDS]


def status_counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how often each status and reason came."""
    return dict(sorted(Counter(item.word for item in outcomes).items()))


def recovered_after(outcomes: Iterable[Outcome], back_at: float) -> float:
    """Return the seconds from `back_at` until the sending of the first payment after which all came out right.

    Raises:
        AssertionError: If the last payment still came out wrong.
    """
    since = sorted((item for item in outcomes if item.sent >= back_at), key=lambda item: item.sent)
    wrong = [place for place, item in enumerate(since) if not item.is_right]
    if not wrong:
        return 0.0
    assert wrong[-1] + 1 < len(since), f"not recovered: {wrong_answers(since)}"
    return since[wrong[-1] + 1].sent - back_at


def read_records(log: Path) -> list[dict[str, Any]]:
    """Return the decision records of a service; the last line may be half written."""
    whole, _, _ = log.read_text("utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
