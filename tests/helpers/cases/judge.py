"""Compares one answer of the service with what a case expects; the first difference, in words, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from helpers.cases.registry import Expect
from protos import envoy_wire_pb2 as wire

_ERROR = re.compile(r'\berror="([^"]*)"')


def difference(expect: Expect, answer: wire.CheckResponse) -> str:
    """Return the first difference, or an empty text."""
    rules = _allow_differences if expect.is_allow else _refusal_differences
    return next((found for found in rules(expect, answer) if found), "")


def is_allow(answer: wire.CheckResponse) -> bool:
    """Say what Envoy would do: the code alone decides."""
    return answer.status.code == 0


def _metadata_differences(expect: Expect, answer: wire.CheckResponse) -> Iterator[str]:
    for name in expect.metadata:
        yield "" if answer.dynamic_metadata.fields[name].string_value else f"no {name} in the metadata"


def _allow_differences(expect: Expect, answer: wire.CheckResponse) -> Iterator[str]:
    yield "" if is_allow(answer) else f"refused: {_body_of(answer)}"
    yield "" if answer.WhichOneof("http_response") == "ok_response" else "an allow without ok_response"
    for name in expect.removed:
        yield "" if name in answer.ok_response.headers_to_remove else f"{name} goes upstream"
    added = [option.header.key for option in answer.ok_response.response_headers_to_add]
    for name in expect.added:
        yield "" if name in added else f"{name} is not added"
    yield from _metadata_differences(expect, answer)


def _refusal(answer: wire.CheckResponse) -> wire.DeniedHttpResponse:
    return answer.denied_response if answer.HasField("denied_response") else answer.error_response


def _body_of(answer: wire.CheckResponse) -> str:
    return _refusal(answer).body or "no body"


def _refusal_differences(expect: Expect, answer: wire.CheckResponse) -> Iterator[str]:
    if is_allow(answer):
        yield "allowed"
        return
    refusal = _refusal(answer)
    status, problem = refusal.status.code, json.loads(refusal.body)
    headers = [(option.header.key, option.header.value) for option in refusal.headers]
    challenges = [value for name, value in headers if name == "www-authenticate"]
    yield "" if status == problem["status"] and status >= 400 else "status and problem differ"
    yield "" if problem["reason"] != "internal" or expect.decision == "error" else "a fault of our own"
    yield "" if status != 401 or challenges else "401 without a challenge"
    yield "" if expect.http in (None, status) else f"status {status}: {refusal.body}"
    yield "" if expect.reason in ("", problem["reason"]) else f"reason {problem['reason']}"
    yield "" if expect.grpc_code in (None, answer.status.code) else f"code {answer.status.code}"
    yield _decision_difference(expect, answer, status)
    yield _error_difference(expect, challenges)
    yield from _text_differences(expect, headers, refusal.body)
    yield from _metadata_differences(expect, answer)


def _decision_difference(expect: Expect, answer: wire.CheckResponse, status: int) -> str:
    is_fault = answer.HasField("error_response")
    if is_fault and status != 503:
        return "a fault of ours without 503"
    if expect.decision == "error" or expect.http == 503:
        return "" if is_fault else "a denial where it is our own fault"
    return "our own fault where it is a denial" if is_fault else ""


def _error_difference(expect: Expect, challenges: list[str]) -> str:
    found = _ERROR.findall(" ".join(challenges))
    if expect.error == "none":
        return f"an error code: {found}" if found else ""
    if expect.error and set(found) != {expect.error}:
        return f"error {found or 'missing'}: {challenges}"
    return ""


def _text_differences(expect: Expect, headers: list[tuple[str, str]], body: str) -> Iterator[str]:
    challenges = ", ".join(value for name, value in headers if name == "www-authenticate")
    for text in expect.challenge:
        yield "" if _has(challenges, text) else f"no {text} in {challenges or 'no challenge'}"
    names = {name for name, _ in headers}
    for wanted in expect.headers:
        pairs = wanted.items() if isinstance(wanted, dict) else ()
        yield "" if all(pair in headers for pair in pairs) else f"not {wanted} in {headers}"
        yield "" if isinstance(wanted, dict) or wanted in names else f"no header {wanted}"
    for text in expect.never_in_body:
        yield f"{text} in the body" if text in body else ""


def _has(challenges: str, text: str) -> bool:
    """Find `Bearer error=` also where the realm stands between scheme and parameter."""
    scheme, blank, parameter = text.partition(" ")
    if not blank or "=" in scheme:
        return text in challenges
    return any(
        part.startswith(scheme) and f" {parameter}" in part.replace(",", ", ") for part in _by_scheme(challenges)
    )


def _by_scheme(challenges: str) -> list[str]:
    starts = [found.start() for found in re.finditer(r"\b(Bearer|DPoP) ", challenges)]
    return [challenges[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
