"""The two paths of the events listener: OpenID Connect back-channel logout, and delivery of security event tokens.

Their law: 200 and 202 are said when what the event ends is written, never before; what cannot be written now is 503,
so that the sender tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from chassis.admin_access import HEADERS, AdminToken
from chassis.clock import Clock
from extauthz.events.metrics import EventMetrics
from extauthz.events.model import EventFault, EventPostponed, EventRefused, ReceivedEvent
from extauthz.events.reader import MAX_EVENT_CHARACTERS, EventReader, Outcome, Transport
from extauthz.model import Unavailable
from extauthz.tokens.failures import FailedAuthentications

LOGOUT_PATH: Final = "/backchannel-logout"
PUSH_PATH: Final = "/security-events"
MAX_BODY_BYTES: Final = MAX_EVENT_CHARACTERS + 1024
BODY_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 5.0
FAILURES_PER_MINUTE: Final = 60
"""Refused events of one address, after which its next ones are not looked into.

A sender whose events are good has none. Each refusal may cost a signature check, a millisecond at most, so that one
address takes no more than a thousandth of a core. Behind an address that hides the senders all of them share it.
"""

_MAX_FIELDS: Final = 8

log = logging.getLogger("extauthz.events")


class EventNotWritten(Exception):  # noqa: N818 - says what happened
    """What an event ends could not be written down; it takes no effect."""


class EventSink(Protocol):
    """Puts events into force."""

    async def accept(self, event: ReceivedEvent, deadline: float) -> bool:
        """Write down what the event ends, once for each issuer and `jti`; return False when it was written before.

        Args:
            event: Verified.
            deadline: On `Clock.monotonic()`.

        Raises:
            EventNotWritten: The sender has to send it again.
        """


@dataclass(frozen=True, slots=True)
class EventMeans:
    """What the pages work with.

    Attributes:
        reader: Returns the reader of the policy set in force; None while there is none.
        sink: Puts events into force.
        clock: Monotonic time for deadlines.
        metrics: Counts what became of events.
        push_token: Senders of security events must show it; None where their signature is enough.
    """

    reader: Callable[[], EventReader | None]
    sink: EventSink
    clock: Clock
    metrics: EventMetrics
    push_token: AdminToken | None = None


class EventPages:
    """Answers both paths.

    Args:
        means: What it works with.
        failures_per_minute: Refused events of one address before it is held up.
    """

    def __init__(self, means: EventMeans, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._means = means
        self._per_minute = failures_per_minute
        self._failures = FailedAuthentications()

    async def logout(self, request: web.Request) -> web.Response:
        """Answer a logout (OpenID Connect Back-Channel Logout 1.0 section 2.8)."""
        self._hold_up(request, _LOGOUT)
        return self._answer(request, await self._take(request, _LOGOUT), _LOGOUT)

    async def push(self, request: web.Request) -> web.Response:
        """Answer a delivery (RFC 8935 section 2)."""
        self._hold_up(request, _PUSH)
        token = self._means.push_token
        if token is not None and not token.admits(request.headers.get("Authorization", "")):
            outcome: _Taken = EventRefused(EventFault.AUTHENTICATION_FAILED, "the sender's token is not the agreed one")
        else:
            outcome = await self._take(request, _PUSH)
        return self._answer(request, outcome, _PUSH)

    def _hold_up(self, request: web.Request, way: _Way) -> None:
        """Refuse an address with too many refused events before anything of it is read (RFC 6585 section 4)."""
        wait = self._failures.wait_seconds(request.remote or "", self._per_minute, self._means.clock.monotonic())
        if wait:
            self._means.metrics.settled(way.transport, "held_up")
            raise web.HTTPTooManyRequests(headers={**HEADERS, "Retry-After": str(wait)})

    async def _take(self, request: web.Request, way: _Way) -> _Taken:
        types = request.headers.getall("Content-Type", [])
        if len(types) != 1 or request.content_type != way.media_type or "Content-Encoding" in request.headers:
            return EventRefused(EventFault.INVALID_REQUEST, f"the body must be {way.media_type}")
        body = await _body(request)
        reader = self._means.reader()
        if isinstance(body, EventRefused):
            return body
        if reader is None:
            return EventPostponed("no policy set is in force")
        deadline = self._means.clock.monotonic() + ANSWER_SECONDS
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                outcome = await way.read(reader, body, deadline)
                if isinstance(outcome, ReceivedEvent):
                    await self._put(outcome, way, deadline)
                return outcome
        except (EventNotWritten, TimeoutError):
            return EventPostponed("what the event ends could not be written")

    async def _put(self, event: ReceivedEvent, way: _Way, deadline: float) -> None:
        is_new = await self._means.sink.accept(event, deadline) if event.ended else True
        self._means.metrics.settled(way.transport, "accepted" if is_new else "repeated")
        if is_new:
            self._means.metrics.unknown_types(event.unknown_types)
            log.info("event_taken: %s by %s, %d entries", event.token_issuer, way.transport, len(event.ended))

    def _answer(self, request: web.Request, outcome: _Taken, way: _Way) -> web.Response:
        match outcome:
            case ReceivedEvent():
                return web.Response(status=way.accepted, headers=HEADERS)
            case Unavailable() | EventPostponed():
                self._means.metrics.settled(way.transport, "postponed")
                return web.Response(status=503, headers={**HEADERS, "Retry-After": str(outcome.retry_after_seconds)})
            case EventRefused():
                self._failures.record(request.remote or "", self._per_minute, self._means.clock.monotonic())
                self._means.metrics.refused(way.transport, outcome.fault)
                body = orjson.dumps(dict(zip(way.names, (outcome.fault.value, outcome.detail), strict=True)))
                return web.Response(body=body, status=400, content_type="application/json", headers=HEADERS)


_Read = Callable[[EventReader, str, float], Awaitable[Outcome]]
_Taken = Outcome | EventPostponed


async def _body(request: web.Request) -> str | EventRefused:
    """Read the body: so much, in such a time; ASCII, as both forms are."""
    whole = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                whole += chunk
                if len(whole) > MAX_BODY_BYTES:
                    return EventRefused(EventFault.INVALID_REQUEST, "the body is too long")
        return whole.decode("ascii")
    except (TimeoutError, UnicodeDecodeError):
        return EventRefused(EventFault.INVALID_REQUEST, "the body is late or not ASCII")


async def _read_logout(reader: EventReader, body: str, deadline: float) -> Outcome:
    """Other fields are left alone, as the specification asks; two tokens would be two readings."""
    try:
        fields = parse_qsl(body, keep_blank_values=True, strict_parsing=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        fields = []
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        return EventRefused(EventFault.INVALID_REQUEST, "the form must hold one logout_token")
    return await reader.read_logout(tokens[0], deadline)


async def _read_set(reader: EventReader, body: str, deadline: float) -> Outcome:
    return await reader.read_set(body, deadline)


class _Way(NamedTuple):
    """What differs between the two paths.

    Attributes:
        transport: Name in policy and metrics.
        media_type: Of the body.
        read: Reads the body.
        accepted: Status of an event that is in force.
        names: Members of a refusal's body: code, and text.
    """

    transport: Transport
    media_type: str
    read: _Read
    accepted: int
    names: tuple[str, str]


_LOGOUT: Final = _Way("logout", "application/x-www-form-urlencoded", _read_logout, 200, ("error", "error_description"))
_PUSH: Final = _Way("push", "application/secevent+jwt", _read_set, 202, ("err", "description"))
