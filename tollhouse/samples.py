"""Send the sample payments through a running gate and compare what comes out with what must.

Works on anything that fits `Gate`: the local stack of `tollhouse up`, or one in containers.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from chassis.clock import SystemClock
from tollhouse.probe import LOOPBACK, get_json, wait_until
from tollhouse.scenarios import Call, Kind, Scenario
from tollhouse.token import fetch_token

_ANSWER_WITHIN_SECONDS: Final = 15.0
_LOGGED_WITHIN_SECONDS: Final = 5.0
_BACK_WITHIN_SECONDS: Final = 20.0
_BURST_CALLS: Final = 8
_FLOOD_CALLS: Final = 2000
_CLOCK: Final = SystemClock()
_FLOODING_ADDRESS: Final = "127.0.0.2"
_BAD_TOKEN: Final = "bm90IGEgdG9rZW4"  # noqa: S105 - the point is that it is none


class Gate(Protocol):
    """A running stack, as far as the samples need it."""

    @property
    def gate_port(self) -> int:
        """The Envoy listener, on loopback."""

    @property
    def stats_port(self) -> int:
        """Where the sample upstream tells what reached it, on loopback."""

    @property
    def issuer_url(self) -> str:
        """The development issuer."""

    @property
    def access_log(self) -> Path:
        """Envoy's access log, one JSON object a line."""

    async def take_away(self, name: str) -> None:
        """End one part as a crash would."""

    async def bring_back(self, name: str) -> None:
        """Start it again and wait until Envoy sends calls to it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out of the gate.

    Attributes:
        status: HTTP status; 0 when no answer came.
        headers: Lower-case names.
        problem: The problem's members; empty when the body is none.
        log_key: Request id, or the caller's own address where Envoy refused before drawing one.
        latency_ms: From sending to the whole answer, milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    problem: Mapping[str, Any]
    log_key: tuple[str, str]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row, what came, and everything that is wrong with it; nothing wrong means passed."""

    scenario: Scenario
    answer: Answer
    details: str
    mistakes: tuple[str, ...] = field(default=())


async def send_samples(gate: Gate, scenarios: Sequence[Scenario]) -> AsyncIterator[Outcome]:
    """Send the rows one after another; yields each outcome as it comes."""
    for scenario in scenarios:
        yield await send_sample(gate, scenario)


async def send_sample(gate: Gate, scenario: Scenario) -> Outcome:
    """Send one row.

    Raises:
        UpFailed: A part that was stopped does not come back.
        TokenRefused: The issuer gives no token.
    """
    seen_before = await asyncio.to_thread(_upstream_requests, gate)
    answers = [await asyncio.to_thread(_send, gate, call) for call in scenario.before]
    mistakes = [f"a call before it came out {answer.status}" for answer in answers if answer.status != 200]
    match scenario.kind:
        case Kind.ONE:
            sent = [await asyncio.to_thread(_send, gate, scenario.call)]
        case Kind.BURST:
            sent = await asyncio.to_thread(_burst, gate, scenario.call)
        case Kind.FLOOD:
            sent = await asyncio.to_thread(_flood, gate, scenario.call)
        case Kind.STOPPED:
            sent = await _stopped(gate, scenario)
    deciding = next((answer for answer in sent if answer.status == scenario.expected.status), sent[0])
    details = await _who_answered(gate, deciding)
    mistakes += _compare(scenario, deciding, details)
    if scenario.kind in (Kind.FLOOD, Kind.STOPPED) and sent[-1].status != 200:
        mistakes.append(f"the allowed twin came out {sent[-1].status}")
    allowed = sum(answer.status == 200 for answer in (*answers, *sent))
    mistakes += await asyncio.to_thread(_compare_upstream, gate, allowed, seen_before)
    return Outcome(scenario, deciding, details, tuple(mistakes))


def _compare(scenario: Scenario, answer: Answer, details: str) -> list[str]:
    expected, problem = scenario.expected, answer.problem
    wanted: dict[str, tuple[object, object]] = {
        "status": (expected.status, answer.status),
        "details": (expected.details, details),
        "reason": (expected.reason, problem.get("reason")),
        "challenge": (expected.challenge, answer.headers.get("www-authenticate", "")),
        "quota": (expected.quota, problem.get("quota")),
    }
    mistakes = [f"{name} is {came!r}, not {right!r}" for name, (right, came) in wanted.items() if right != came]
    if expected.has_retry_after != bool(re.fullmatch(r"[1-9]\d*", answer.headers.get("retry-after", ""))):
        mistakes.append(f"Retry-After is {answer.headers.get('retry-after')!r}")
    if expected.status >= 400:
        if answer.headers.get("content-type") != "application/problem+json":
            mistakes.append(f"content-type is {answer.headers.get('content-type')!r}")
        if problem.get("status") != answer.status:
            mistakes.append(f"the problem says status {problem.get('status')!r}")
    return mistakes


def _compare_upstream(gate: Gate, allowed: int, seen_before: int) -> list[str]:
    stats = get_json(gate.stats_port, "/_stats")
    arrived = int(stats["requests"]) - seen_before
    mistakes = [] if arrived == allowed else [f"{arrived} requests reached the upstream, not {allowed}"]
    secret = [name for name in stats["last_headers"] if name == "authorization" or name.startswith("x-tollhouse-")]
    return mistakes + [f"the upstream saw the header {name}" for name in secret]


def _upstream_requests(gate: Gate) -> int:
    return int(get_json(gate.stats_port, "/_stats")["requests"])


async def _stopped(gate: Gate, scenario: Scenario) -> list[Answer]:
    await gate.take_away(scenario.part)
    try:
        refused = await asyncio.to_thread(_send, gate, scenario.call)
    finally:
        await gate.bring_back(scenario.part)
    twins: list[Answer] = []

    def twin_passes() -> bool:
        twins.append(_send(gate, scenario.call))
        return twins[-1].status == 200

    # A service may still be finding the store again when it calls itself ready.
    await wait_until(twin_passes, _BACK_WITHIN_SECONDS)
    return [refused, twins[-1]]


def _burst(gate: Gate, call: Call) -> list[Answer]:
    token = _token(gate, call)
    with ThreadPoolExecutor(_BURST_CALLS) as pool:
        return list(pool.map(lambda _: _exchange(gate, call, token), range(_BURST_CALLS)))


def _flood(gate: Gate, call: Call) -> list[Answer]:
    """Flood from one address until it is refused, and on while another address sends its payment."""
    is_over, is_refused = threading.Event(), threading.Event()
    refusals: list[Answer] = []

    def flood() -> None:
        connection = _connect(gate, _FLOODING_ADDRESS)
        for _ in range(_FLOOD_CALLS):
            answer = _exchange(gate, call, _BAD_TOKEN, connection)
            if answer.status == 429:
                refusals.append(answer)
                is_refused.set()
            if is_over.is_set():
                break
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood)
        is_refused.wait(_ANSWER_WITHIN_SECONDS)
        paid = _send(gate, call)
        is_over.set()
        flooding.result()
    return [*refusals[:1], paid]


def _send(gate: Gate, call: Call) -> Answer:
    return _exchange(gate, call, _token(gate, call))


def _token(gate: Gate, call: Call) -> str | None:
    if call.oauth_client is None:
        return None
    return fetch_token(gate.issuer_url, merchant=call.oauth_client, scope=call.scope)


def _connect(gate: Gate, source: str = LOOPBACK) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(
        LOOPBACK, gate.gate_port, timeout=_ANSWER_WITHIN_SECONDS, source_address=(source, 0)
    )


def _exchange(
    gate: Gate, call: Call, token: str | None, connection: http.client.HTTPConnection | None = None
) -> Answer:
    used = connection or _connect(gate)
    headers = {"content-type": "application/json", **call.headers}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    started = _CLOCK.monotonic()
    try:
        if used.sock is None:
            used.connect()
        peer = used.sock.getsockname()
        used.request(call.method, call.path, body=call.body or None, headers=headers)
        response = used.getresponse()
        problem = _problem(response.read())
    except (OSError, http.client.HTTPException):
        return Answer(0, {}, {}, ("peer", "none"), 0.0)
    finally:
        if connection is None:
            used.close()
    latency_ms = (_CLOCK.monotonic() - started) * 1000
    received = {name.lower(): value for name, value in response.getheaders()}
    request_id = received.get("x-request-id")
    log_key = ("request_id", request_id) if request_id else ("peer", f"{peer[0]}:{peer[1]}")
    return Answer(response.status, received, problem, log_key, latency_ms)


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        read = json.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) and "reason" in read else {}


async def _who_answered(gate: Gate, answer: Answer) -> str:
    """Return Envoy's RESPONSE_CODE_DETAILS of an answer from its access log."""
    found: list[str] = []

    def is_logged() -> bool:
        found.extend(_details_in(gate.access_log.read_text("utf-8").splitlines(), answer))
        return bool(found)

    await wait_until(is_logged, _LOGGED_WITHIN_SECONDS)
    return found[0] if found else "not in the access log"


def _details_in(lines: Iterable[str], answer: Answer) -> Iterable[str]:
    name, value = answer.log_key
    for line in lines:
        if value in line:
            entry = json.loads(line)
            if entry.get(name) == value:
                yield str(entry["details"])
