"""The two paths of the events listener: OpenID Connect back-channel logout, and delivery of security event tokens.

Their law: 200 and 202 are said when what the event ends is written, never before; what cannot be written now is 503,
so that the sender tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from chassis.admin_access import HEADERS, AdminToken
from chassis.clock import Clock
from extauthz.events.model import EventFault, EventPostponed, EventRefused, ReceivedEvent
from extauthz.events.reader import MAX_EVENT_CHARACTERS, EventReader, Outcome
from extauthz.model import Unavailable
from extauthz.tokens.failures import FailedAuthentications

LOGOUT_PATH: Final = "/backchannel-logout"
PUSH_PATH: Final = "/security-events"
MAX_BODY_BYTES: Final = MAX_EVENT_CHARACTERS + 1024
BODY_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 5.0
FAILURES_PER_MINUTE: Final = 60
"""Refused events of one address, after which its next ones are not looked into."""

_MAX_FIELDS: Final = 8


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
        push_token: Senders of security events must show it; None where their signature is enough.
    """

    reader: Callable[[], EventReader | None]
    sink: EventSink
    clock: Clock
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
        self._hold_up(request)
        outcome = await self._take(request, "application/x-www-form-urlencoded", _read_logout)
        return self._answer(request, outcome, accepted=200, names=("error", "error_description"))

    async def push(self, request: web.Request) -> web.Response:
        """Answer a delivery (RFC 8935 section 2)."""
        self._hold_up(request)
        token = self._means.push_token
        if token is not None and not token.admits(request.headers.get("Authorization", "")):
            outcome: _Taken = EventRefused(EventFault.AUTHENTICATION_FAILED, "the sender's token is not the agreed one")
        else:
            outcome = await self._take(request, "application/secevent+jwt", _read_set)
        return self._answer(request, outcome, accepted=202, names=("err", "description"))

    def _hold_up(self, request: web.Request) -> None:
        """Refuse an address with too many refused events before anything of it is read (RFC 6585 section 4)."""
        wait = self._failures.wait_seconds(request.remote or "", self._per_minute, self._means.clock.monotonic())
        if wait:
            raise web.HTTPTooManyRequests(headers={**HEADERS, "Retry-After": str(wait)})

    async def _take(self, request: web.Request, media_type: str, read: _Read) -> _Taken:
        types = request.headers.getall("Content-Type", [])
        if len(types) != 1 or request.content_type != media_type or "Content-Encoding" in request.headers:
            return EventRefused(EventFault.INVALID_REQUEST, f"the body must be {media_type}")
        body = await _body(request)
        reader = self._means.reader()
        if isinstance(body, EventRefused):
            return body
        if reader is None:
            return EventPostponed("no policy set is in force")
        deadline = self._means.clock.monotonic() + ANSWER_SECONDS
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                outcome = await read(reader, body, deadline)
                if isinstance(outcome, ReceivedEvent) and outcome.ended:
                    await self._means.sink.accept(outcome, deadline)
                return outcome
        except (EventNotWritten, TimeoutError):
            return EventPostponed("what the event ends could not be written")

    def _answer(self, request: web.Request, outcome: _Taken, *, accepted: int, names: tuple[str, str]) -> web.Response:
        match outcome:
            case ReceivedEvent():
                return web.Response(status=accepted, headers=HEADERS)
            case Unavailable() | EventPostponed():
                return web.Response(status=503, headers={**HEADERS, "Retry-After": str(outcome.retry_after_seconds)})
            case EventRefused():
                self._failures.record(request.remote or "", self._per_minute, self._means.clock.monotonic())
                body = orjson.dumps(dict(zip(names, (outcome.fault.value, outcome.detail), strict=True)))
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
