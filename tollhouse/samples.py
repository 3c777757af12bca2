"""Send the sample payments through a running gate and compare what comes out with what must.

Works on anything that fits `StackDriver`: the local stack of `tollhouse up`, and the one in containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tollhouse.caller import NO_ANSWER, Answer, connect, exchange
from tollhouse.flood import flooding
from tollhouse.probe import wait_until
from tollhouse.scenarios import Call, Kind, Scenario

_LOGGED_WITHIN_SECONDS: Final = 5.0
_BACK_WITHIN_SECONDS: Final = 20.0
_BURST_CALLS: Final = 8


class StackDriver(Protocol):
    """A running stack, as far as the samples need it. The plain methods block, and are called in threads."""

    @property
    def gate_address(self) -> tuple[str, int]:
        """Host and port of the Envoy listener."""

    @property
    def flood_command(self) -> Sequence[str]:
        """Runs `tollhouse.flood` against the gate from an address other than the samples' own."""

    def fetch_token(self, oauth_client: str, scope: str | None) -> str:
        """Return a token of the development issuer.

        Raises:
            TokenRefused: The issuer gives none.
        """

    def upstream_stats(self) -> Mapping[str, Any]:
        """Return what the sample upstream tells about what reached it."""

    def read_access_log(self) -> str:
        """Return Envoy's access log, one JSON object a line."""

    async def take_away(self, name: str) -> None:
        """End one part as a crash would."""

    async def bring_back(self, name: str) -> None:
        """Start it again and wait until Envoy sends calls to it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row, what came, and everything that is wrong with it; nothing wrong means passed."""

    scenario: Scenario
    answer: Answer
    details: str
    mistakes: tuple[str, ...] = field(default=())


async def send_samples(stack: StackDriver, scenarios: Sequence[Scenario]) -> AsyncIterator[Outcome]:
    """Send the rows one after another; yields each outcome as it comes."""
    for scenario in scenarios:
        yield await send_sample(stack, scenario)


async def send_sample(stack: StackDriver, scenario: Scenario) -> Outcome:
    """Send one row.

    Raises:
        UpFailed: A part that was stopped does not come back.
        TokenRefused: The issuer gives no token.
    """
    seen_before = await asyncio.to_thread(_upstream_requests, stack)
    answers = [await asyncio.to_thread(_send, stack, call) for call in scenario.before]
    mistakes = [f"a call before it came out {answer.status}" for answer in answers if answer.status != 200]
    match scenario.kind:
        case Kind.ONE:
            sent = [await asyncio.to_thread(_send, stack, scenario.call)]
        case Kind.BURST:
            sent = await asyncio.to_thread(_burst, stack, scenario.call)
        case Kind.FLOOD:
            sent = await asyncio.to_thread(_flood, stack, scenario.call)
        case Kind.STOPPED:
            sent = await _stopped(stack, scenario)
    deciding = next((answer for answer in sent if answer.status == scenario.expected.status), sent[0])
    details = await _who_answered(stack, deciding)
    mistakes += _compare(scenario, deciding, details)
    if scenario.kind in (Kind.FLOOD, Kind.STOPPED) and sent[-1].status != 200:
        mistakes.append(f"the allowed twin came out {sent[-1].status}")
    allowed = sum(answer.status == 200 for answer in (*answers, *sent))
    mistakes += await asyncio.to_thread(_compare_upstream, stack, allowed, seen_before)
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


def _compare_upstream(stack: StackDriver, allowed: int, seen_before: int) -> list[str]:
    stats = stack.upstream_stats()
    arrived = int(stats["requests"]) - seen_before
    mistakes = [] if arrived == allowed else [f"{arrived} requests reached the upstream, not {allowed}"]
    secret = [name for name in stats["last_headers"] if name == "authorization" or name.startswith("x-tollhouse-")]
    return mistakes + [f"the upstream saw the header {name}" for name in secret]


def _upstream_requests(stack: StackDriver) -> int:
    return int(stack.upstream_stats()["requests"])


async def _stopped(stack: StackDriver, scenario: Scenario) -> list[Answer]:
    await stack.take_away(scenario.part)
    try:
        refused = await asyncio.to_thread(_send, stack, scenario.call)
    finally:
        await stack.bring_back(scenario.part)
    twins: list[Answer] = []

    def twin_passes() -> bool:
        twins.append(_send(stack, scenario.call))
        return twins[-1].status == 200

    # A service may still be finding the store again when it calls itself ready.
    await wait_until(twin_passes, _BACK_WITHIN_SECONDS)
    return [refused, twins[-1]]


def _burst(stack: StackDriver, call: Call) -> list[Answer]:
    token = _token(stack, call)
    with ThreadPoolExecutor(_BURST_CALLS) as pool:
        return list(pool.map(lambda _: _exchange(stack, call, token), range(_BURST_CALLS)))


def _flood(stack: StackDriver, call: Call) -> list[Answer]:
    """Pay while another address floods and is refused."""
    token = _token(stack, call)
    with flooding(stack.flood_command, call) as refusal:
        paid = _exchange(stack, call, token)
    return [refusal or NO_ANSWER, paid]


def _send(stack: StackDriver, call: Call) -> Answer:
    return _exchange(stack, call, _token(stack, call))


def _token(stack: StackDriver, call: Call) -> str | None:
    return None if call.oauth_client is None else stack.fetch_token(call.oauth_client, call.scope)


def _exchange(stack: StackDriver, call: Call, token: str | None) -> Answer:
    with contextlib.closing(connect(stack.gate_address)) as connection:
        return exchange(connection, call, token)


async def _who_answered(stack: StackDriver, answer: Answer) -> str:
    """Return Envoy's RESPONSE_CODE_DETAILS of an answer from its access log."""
    found: list[str] = []

    def is_logged() -> bool:
        found.extend(_details_in(stack.read_access_log().splitlines(), answer))
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
