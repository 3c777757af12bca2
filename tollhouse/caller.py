"""One HTTP call to the gate, and what came out: what the samples and the flood are made of."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chassis.clock import SystemClock
from tollhouse.scenarios import Call

ANSWER_WITHIN_SECONDS: Final = 15.0
_STREAM: Final = "urn:tollhouse:stream:"
_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out of the gate.

    Attributes:
        status: HTTP status; 0 when no answer came.
        headers: Lower-case names.
        problem: The problem's members; empty when the body is none.
        log_key: Name and value of the field by which Envoy's access log knows this exchange: the request id, or
            the stream where Envoy refused before drawing one; empty texts when no answer came.
        latency_ms: From sending to the whole answer, milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    problem: Mapping[str, Any]
    log_key: tuple[str, str]
    latency_ms: float


NO_ANSWER: Final = Answer(0, {}, {}, ("", ""), 0.0)


def connect(address: tuple[str, int], source: str | None = None) -> http.client.HTTPConnection:
    """Return a connection to the gate, opened by its first call.

    Args:
        address: Host and port of the gate.
        source: Address of this machine to call from; None leaves it to the system.
    """
    host, port = address
    bind = None if source is None else (source, 0)
    return http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_SECONDS, source_address=bind)


def exchange(connection: http.client.HTTPConnection, call: Call, token: str | None) -> Answer:
    """Send a call and read the answer; `NO_ANSWER` instead of an error."""
    headers = {"content-type": "application/json", **call.headers}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    started = _CLOCK.monotonic()
    try:
        connection.request(call.method, call.path, body=call.body or None, headers=headers)
        response = connection.getresponse()
        problem = _problem(response.read())
    except (OSError, http.client.HTTPException):
        connection.close()
        return NO_ANSWER
    latency_ms = (_CLOCK.monotonic() - started) * 1000
    received = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, received, problem, _log_key(received, problem), latency_ms)


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        read = json.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) and "reason" in read else {}


def _log_key(headers: Mapping[str, str], problem: Mapping[str, Any]) -> tuple[str, str]:
    request_id = headers.get("x-request-id")
    if request_id:
        return "request_id", request_id
    instance = str(problem.get("instance", ""))
    return ("stream", instance.removeprefix(_STREAM)) if instance.startswith(_STREAM) else ("", "")
