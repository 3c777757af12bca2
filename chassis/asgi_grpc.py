"""gRPC over ASGI: framing, sizes, deadlines and status mapping in front of `chassis.rpc`.

Unary calls, and client streams behind the same checks.

Called by `asgi_host` once per request, on the hot path of the `envoy` transport. Its law: every call
ends with exactly one status, within its deadline, and no text of ours or of a library leaks into it.
Sources: grpc doc/PROTOCOL-HTTP2.md and doc/statuscodes.md, the ASGI HTTP specification with its
`http.response.trailers` extension.

A call that has waited too long, or one too many, is shed (`overload`): its request is not even read. The wait is
known because the hosting Envoy writes into each request when it saw it.

The host never says that the caller has gone once the request was read, and never cancels a call: a
handler therefore lives at most until its deadline, which every call has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from chassis.clock import Clock
from chassis.listen import HostOptions
from chassis.overload import LoadGate
from chassis.rpc import Methods, RpcError, StatusCode, UnaryHandler
from chassis.streams import OpenStreams

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

log = logging.getLogger(__name__)

_PREFIX_BYTES = 5
_MAX_TIMEOUT_DIGITS = 8
_TIMEOUT_UNITS = {72: 3600.0, 77: 60.0, 83: 1.0, 109: 1e-3, 117: 1e-6, 110: 1e-9}  # H M S m u n

_READ_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
_CONTENT_TYPE: Header = (b"content-type", b"application/grpc")
# Sent with every refusal, so that a caller that compressed learns what is read (doc/compression.md).
_ACCEPT_ENCODING: Header = (b"grpc-accept-encoding", b"identity")

ARRIVAL_HEADER = b"x-tollhouse-arrival"
"""Seconds since 1970 at which the hosting Envoy saw the request; it overwrites what a caller sends."""

_RESPONSE_START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE],
    "trailers": True,
}
_RESPONSE_TRAILERS: dict[str, Any] = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}
_EMPTY_BODY: dict[str, Any] = {"type": "http.response.body", "body": b"", "more_body": False}


class CallerGoneError(Exception):
    """The caller ended the call before its request was complete; nobody waits for a status."""


class GrpcAdapter:
    """An ASGI application for `http` scopes that serves unary gRPC methods."""

    def __init__(
        self, methods: Methods, options: HostOptions, clock: Clock, load: LoadGate, streams: OpenStreams | None = None
    ) -> None:
        self._methods = dict(methods)
        self._streams = streams or OpenStreams({}, 0.0)
        self._load = load
        self._options = options
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call; returns once a status was sent or the caller has gone."""
        headers = dict(scope["headers"])
        refusal = _http_refusal(scope["method"], headers)
        if refusal is not None:
            await _send_all(send, *refusal)
            return
        try:
            # Not `path`, which is percent-decoded: who may call what was decided by the path as it was sent.
            reply = await self._reply(scope["raw_path"].decode("latin-1"), headers, receive)
        except CallerGoneError:
            return
        except RpcError as error:
            await _send_all(send, _trailers_only(error.code, error.message), _EMPTY_BODY)
            return
        await _send_all(
            send,
            _RESPONSE_START,
            {"type": "http.response.body", "body": _frame(reply), "more_body": False},
            _RESPONSE_TRAILERS,
        )

    async def _reply(self, path: str, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the response message; raises RpcError or CallerGoneError, nothing else."""
        handler = self._methods.get(path)
        if handler is None:
            return await self._serve_stream(path, headers, receive)
        granted = self._timeout_seconds(headers.get(b"grpc-timeout"))
        left = granted - self._waited_seconds(headers.get(ARRIVAL_HEADER))
        shed = self._load.shed(path, left, granted)
        if shed is not None:
            return shed
        deadline = self._clock.monotonic() + left
        self._load.begin()
        try:
            async with asyncio.timeout(left) as scope:
                reply = await self._call(handler, headers, receive, deadline)
                # Every event sent wakes Envoy's worker thread, unless it is awake. Answers of one tick of the event
                # loop wait for each other here and go out one right after the other, so that it wakes once for all
                # of them: 48 us of CPU a call at 64 in flight.
                await asyncio.sleep(0)
            if self._clock.monotonic() <= deadline:
                return reply
            # Worked on without a pause until it was too late for the timeout to end it: no late allow leaves here.
            raise _too_late()
        except (RpcError, CallerGoneError):
            raise
        except TimeoutError:
            if scope.expired():
                raise _too_late() from None
            # A time-out that a handler let escape is a bug like any other.
            log.exception("call_failed")
        except Exception:
            log.exception("call_failed")
        finally:
            self._load.end(self._clock.monotonic() - (deadline - left))
        raise RpcError(StatusCode.INTERNAL, "internal error")

    async def _serve_stream(self, path: str, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        handler = self._streams.methods.get(path)
        if handler is None:
            raise RpcError(StatusCode.UNIMPLEMENTED, "unknown method")
        reading = StreamReader(receive, self._options.max_message_bytes, self._streams.bounds.frame_seconds)
        try:
            return await self._streams.serve(handler, reading.messages(headers.get(b"grpc-encoding", b"identity")))
        except (RpcError, CallerGoneError):
            raise
        except Exception:
            log.exception("call_failed")
        raise RpcError(StatusCode.INTERNAL, "internal error")

    async def _call(
        self, handler: UnaryHandler, headers: dict[bytes, bytes], receive: Receive, deadline: float
    ) -> bytes:
        limit = self._options.max_message_bytes
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > limit + _PREFIX_BYTES:
            raise _too_large()
        body = await _read_body(receive, limit)
        return await handler(_unframe(body, headers.get(b"grpc-encoding", b"identity")), deadline)

    def _timeout_seconds(self, header: bytes | None) -> float:
        if header is None:
            return self._options.default_timeout_seconds
        return min(parse_timeout(header), self._options.max_timeout_seconds)

    def _waited_seconds(self, arrival: bytes | None) -> float:
        # Wall time, as Envoy writes it. A clock set back shows as no wait, one set forward sheds the calls of a moment.
        return 0.0 if arrival is None else max(self._clock.wall() - float(arrival), 0.0)


class StreamReader:
    """Takes messages out of a request body while it comes.

    Args:
        receive: Of the call.
        limit: Longest message, bytes.
        frame_seconds: How long the rest of a message may take.
    """

    def __init__(self, receive: Receive, limit: int, frame_seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._frame_seconds = frame_seconds
        self._body = bytearray()

    async def messages(self, encoding: bytes) -> AsyncGenerator[bytes, None]:
        """Return one message after the other; raises RpcError and CallerGoneError as for a unary call."""
        is_more = True
        while is_more:
            is_more = await self._read_on()
            while (message := self._whole(encoding)) is not None:
                yield message
        if self._body:
            raise RpcError(StatusCode.INTERNAL, "malformed request frame")

    async def _read_on(self) -> bool:
        """Wait for a part of the body; between messages for as long as the stream may be open, inside of one not."""
        try:
            async with asyncio.timeout(self._frame_seconds if self._body else None):
                event = await _kept(self._receive())
        except TimeoutError:
            raise RpcError(StatusCode.INTERNAL, "the rest of a message did not come") from None
        if event["type"] != "http.request":
            raise CallerGoneError
        self._body += event.get("body", b"")
        return bool(event.get("more_body", False))

    def _whole(self, encoding: bytes) -> bytes | None:
        """Take the next message off the body; None until it is there."""
        end = _frame_end(self._body, 0)
        if len(self._body) >= _PREFIX_BYTES and end - _PREFIX_BYTES > self._limit:
            raise _too_large()
        if end > len(self._body):
            return None
        frame = bytes(self._body[:end])
        del self._body[:end]
        return _unframe(frame, encoding)


def parse_timeout(header: bytes) -> float:
    """Return the seconds of a `grpc-timeout` header (PROTOCOL-HTTP2.md, "Timeout").

    Raises:
        RpcError: INTERNAL if it is not 1 to 8 digits and a unit.
    """
    unit = _TIMEOUT_UNITS.get(header[-1]) if header else None
    digits = header[:-1]
    if unit is None or not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS:
        raise RpcError(StatusCode.INTERNAL, "malformed grpc-timeout")
    return int(digits) * unit


async def _read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole request body, holding at most one message of `limit` bytes and one chunk."""
    event = await _kept(receive())
    body: bytes = event.get("body", b"")
    if event.get("more_body", False):
        body = await _read_on(receive, bytearray(body), limit)
    elif event["type"] != "http.request":
        raise CallerGoneError
    _check_size(body, limit)
    return body


async def _read_on(receive: Receive, body: bytearray, limit: int) -> bytes:
    while True:
        _check_size(body, limit)
        event = await _kept(receive())
        if event["type"] != "http.request":
            raise CallerGoneError
        body += event.get("body", b"")
        if not event.get("more_body", False):
            return bytes(body)


def _kept(event: Awaitable[Mapping[str, Any]]) -> Awaitable[Mapping[str, Any]]:
    """Keep our deadline from cancelling a future of the host's.

    pyvoy sets it all the same when the stream ends, and the event loop would log an error for each.
    """
    return asyncio.shield(event) if isinstance(event, asyncio.Future) else event


def _check_size(body: bytes | bytearray, limit: int) -> None:
    """Refuse a message by its announced length before its bytes are there, or by what is there."""
    is_announced = len(body) >= _PREFIX_BYTES and int.from_bytes(body[1:_PREFIX_BYTES], "big") > limit
    if is_announced or len(body) > limit + _PREFIX_BYTES:
        raise _too_large()


def _too_late() -> RpcError:
    return RpcError(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")


def _too_large() -> RpcError:
    return RpcError(StatusCode.RESOURCE_EXHAUSTED, "request message is too large")


def _unframe(body: bytes, encoding: bytes) -> bytes:
    """Return the one message in a request body (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").

    Raises:
        RpcError: UNIMPLEMENTED for a compressed message or for another number of messages than one
            (statuscodes.md, "request cardinality violation"); INTERNAL for a broken frame.
    """
    if not body:
        raise RpcError(StatusCode.UNIMPLEMENTED, "exactly one request message is expected")
    end = _frame_end(body, 0)
    if body[0] == 1 and encoding != b"identity":
        raise RpcError(StatusCode.UNIMPLEMENTED, "compressed messages are not read")
    if body[0] != 0 or end > len(body):
        raise RpcError(StatusCode.INTERNAL, "malformed request frame")
    if end == len(body):
        return body[_PREFIX_BYTES:]
    if _frame_end(body, end) <= len(body):
        raise RpcError(StatusCode.UNIMPLEMENTED, "exactly one request message is expected")
    raise RpcError(StatusCode.INTERNAL, "malformed request frame")


def _frame_end(body: bytes | bytearray, start: int) -> int:
    """Return where the frame that begins at `start` ends; beyond the body when its prefix is cut."""
    if len(body) - start < _PREFIX_BYTES:
        return len(body) + 1
    return start + _PREFIX_BYTES + int.from_bytes(body[start + 1 : start + _PREFIX_BYTES], "big")


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _http_refusal(method: str, headers: dict[bytes, bytes]) -> tuple[dict[str, Any], ...] | None:
    """Return the plain HTTP answer to what is no gRPC request, else None."""
    if headers.get(b"content-type", b"").partition(b";")[0] not in _READ_CONTENT_TYPES:
        return _http_answer(415, ())
    if method != "POST":
        return _http_answer(405, ((b"allow", b"POST"),))
    if headers.get(b"te") != b"trailers":
        # Without it somebody between us and the caller may drop the trailers, and with them the status.
        return _trailers_only(StatusCode.INTERNAL, "te: trailers is missing"), _EMPTY_BODY
    return None


def _http_answer(status: int, headers: Iterable[Header]) -> tuple[dict[str, Any], ...]:
    start = {"type": "http.response.start", "status": status, "headers": [*headers], "trailers": False}
    return start, _EMPTY_BODY


def _trailers_only(code: StatusCode, message: str) -> dict[str, Any]:
    """Return an answer whose only header block carries the status (PROTOCOL-HTTP2.md, "Trailers-Only")."""
    headers = [
        _CONTENT_TYPE,
        (b"grpc-status", str(int(code)).encode()),
        (b"grpc-message", _percent_encoded(message)),
        _ACCEPT_ENCODING,
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers, "trailers": False}


def _percent_encoded(message: str) -> bytes:
    """Encode a status message (PROTOCOL-HTTP2.md, "Status-Message"): printable ASCII but `%` stays."""
    return quote(message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode()


async def _send_all(send: Send, *events: dict[str, Any]) -> None:
    try:
        for event in events:
            await send(event)
    except OSError:
        # The ASGI specification's sign that the caller has gone: no status to send any more.
        return
