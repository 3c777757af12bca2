"""Steps 1 and 6: parse Envoy's CheckRequest, render our CheckResponse.

Only this module of the service, and `wire_claims` for it, touches protobuf. Its law: `CheckResponse.status.code`
alone decides in Envoy and an unset code means allow, so every branch of `render_check_response` sets it.
Protos: envoy/service/auth/v3/external_auth.proto and attribute_context.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, assert_never

from google.protobuf.message import DecodeError

from chassis.problem import CONTENT_TYPE, problem_body
from chassis.rpc import StatusCode
from extauthz.challenges import write_challenges, write_dpop_challenge
from extauthz.model import Allow, AuthzRequest, Challenge, Decision, Deny, Unavailable
from extauthz.reasons import Reason
from extauthz.wire_claims import read_claims
from policy.handoff import VERSION
from protos import envoy_wire_pb2 as wire

_INVALID_ARGUMENT: Final = 3  # google.rpc.Code; any non-zero code refuses
_PERMISSION_DENIED: Final = 7
_NO_ENTRIES: Final[Mapping[str, Any]] = MappingProxyType({})
_OWN_NAME: Final = "tollhouse"
"""Behind `x-`, and behind `x_` and `x.` too: some upstreams take these for the same name."""
_PARTIAL_BODY: Final = "x-envoy-auth-partial-body"
_END_OF_TIME: Final = 253_370_764_800  # the year 9999, which has a date in every time zone
DECISION_ID_HEADER: Final = "x-tollhouse-decision-id"
REVIEW_HEADER: Final = "x-tollhouse-review"
DPOP_NONCE_HEADER: Final = "dpop-nonce"


class Stamp(NamedTuple):
    """What every answer carries besides the verdict.

    Attributes:
        decision_id: 32 lower-case hex digits.
        policy_revision: Revision that decided; empty when none was loaded.
        errors_uri: Where docs/errors.md is published.
        realm: For WWW-Authenticate (RFC 9110 section 11.5); no quotes or backslashes.
        dpop_algorithms: Of the proofs that are taken, separated by blanks; empty where DPoP is not taken.
        takes_bearer: The operation takes tokens with the scheme Bearer, so challenges offer it.
        resource_metadata: Where the metadata of this API is (RFC 9728); empty where there is none.
    """

    decision_id: str
    policy_revision: str
    errors_uri: str
    realm: str
    dpop_algorithms: str = ""
    resource_metadata: str = ""
    takes_bearer: bool = True


def parse_check_request(data: bytes, *, reads_claims: bool = False) -> AuthzRequest | Deny:
    """Read one serialised CheckRequest.

    Args:
        data: Any bytes.
        reads_claims: Some token issuer's tokens are verified by Envoy, so what it says of them is read.

    Returns:
        The request, or `Deny(REQUEST_MALFORMED)` for bytes that are no HTTP check: undecodable, without
        an HTTP part (a TCP check), or with two readings of the headers or of the body.
    """
    message = wire.CheckRequest()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return _malformed("not a CheckRequest")
    attributes = message.attributes
    http = attributes.request.http
    if not (http.method and http.path and http.host):
        return _malformed("method, path or host is absent")
    if http.body and http.raw_body:
        return _malformed("body and raw_body are both set")
    headers = _headers(http)
    if headers is None:
        return _malformed("headers that can be read in two ways")
    body = http.raw_body or http.body.encode()
    time = attributes.request.time
    if not 0 <= time.seconds < _END_OF_TIME:
        return _malformed("a time outside of the calendar")
    return AuthzRequest(
        method=http.method,
        scheme=http.scheme,
        host=http.host,
        path=http.path,
        headers=headers,
        body=body,
        body_is_partial=_is_partial(headers, http.size, len(body)),
        peer_ip=(address := (source := attributes.source).address.socket_address).address,
        time=time.seconds + time.nanos / 1e9,
        request_id=headers.get("x-request-id", ""),
        context_extensions=dict(extensions) if (extensions := attributes.context_extensions) else _NO_ENTRIES,
        stream_id=http.id,
        peer_port=address.port_value,
        peer_principal=source.principal,
        peer_certificate=source.certificate,
        envoy_claims=read_claims(attributes.metadata_context) if reads_claims else _NO_ENTRIES,
    )


def _malformed(detail: str) -> Deny:
    return Deny(Reason.REQUEST_MALFORMED, detail=detail)


def _headers(http: wire.AttributeContext.HttpRequest) -> Mapping[str, str] | None:
    """Return one map whichever encoding Envoy used, or None when both are there, or both values of a header."""
    if not http.HasField("header_map"):
        sent = http.headers
        headers = {name.lower(): sent[name] for name in sent}
        # As many names as before: none was there in two spellings, so there is nothing to join.
        return headers if len(headers) == len(sent) else _joined(sent.items())
    entries = http.header_map.headers
    if http.headers or any(entry.raw_value and entry.value for entry in entries):
        return None
    return _joined(
        (entry.key, entry.raw_value.decode("utf-8", "replace") if entry.raw_value else entry.value) for entry in entries
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for key, value in pairs:
        name = key.lower()
        # Envoy's `headers` map joins repeated headers with a comma; so do we, for one verdict.
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _is_partial(headers: Mapping[str, str], size: int, received: int) -> bool:
    """Tell whether the body's end was not seen: Envoy says so, or a length disagrees with the bytes."""
    if headers.get(_PARTIAL_BODY, "false") != "false" or size > received:
        return True
    declared = headers.get("content-length")
    return declared is not None and declared != str(received)


def render_check_response(decision: Decision, stamp: Stamp, request: AuthzRequest | None) -> bytes:
    """Write the verdict down for Envoy, with the decision id and the hand-off as dynamic metadata."""
    response = wire.CheckResponse()
    match decision:
        case Allow():
            _render_allow(response, decision, stamp, request)
        case Deny():
            is_malformed = decision.reason is Reason.REQUEST_MALFORMED
            response.status.code = _INVALID_ARGUMENT if is_malformed else _PERMISSION_DENIED
            response.denied_response.CopyFrom(_refusal(decision.reason, stamp, _deny_headers(decision, stamp, request)))
            _metadata(response, stamp, {"reason": decision.reason.code, "verdict": "deny"})
        case Unavailable():
            response.status.code = int(StatusCode.UNAVAILABLE)
            headers = {"retry-after": str(decision.retry_after_seconds)}
            response.error_response.CopyFrom(_refusal(decision.reason, stamp, headers))
            _metadata(response, stamp, {"reason": decision.reason.code, "verdict": "unavailable"})
        case _:
            assert_never(decision)
    return response.SerializeToString()


def _render_allow(response: wire.CheckResponse, allow: Allow, stamp: Stamp, request: AuthzRequest | None) -> None:
    response.status.code = int(StatusCode.OK)
    ok = response.ok_response
    removed = [name for name in (request.headers if request else ()) if name.startswith(_OWN_NAME, 2)]
    if not allow.forward_token:
        removed.append("authorization")
        if request and "dpop" in request.headers:
            removed.append("dpop")  # a proof is of use with its token alone
    if allow.is_review:
        # Envoy removes before it sets, so a client's copy cannot survive beside ours.
        ok.headers.add().header.MergeFrom(wire.HeaderValue(key=REVIEW_HEADER, value="true"))
        removed = [name for name in removed if name != REVIEW_HEADER]
    ok.headers_to_remove.extend(removed)
    _tell_client(ok, DECISION_ID_HEADER, stamp.decision_id)
    if allow.dpop_nonce:
        _tell_client(ok, DPOP_NONCE_HEADER, allow.dpop_nonce)
    shadow = {"would_deny": "true"} if allow.would_deny else {}
    _metadata(response, stamp, {"handoff": VERSION, "verdict": "allow", **allow.handoff, **shadow})


def _tell_client(ok: wire.OkHttpResponse, name: str, value: str) -> None:
    added = ok.response_headers_to_add.add()
    added.append_action = wire.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    added.header.key, added.header.value = name, value


def _metadata(response: wire.CheckResponse, stamp: Stamp, entries: Mapping[str, str]) -> None:
    # Strings only: Envoy keeps metadata numbers as doubles, and an amount must not lose a digit.
    fields = response.dynamic_metadata.fields
    for name, value in entries.items():
        fields[name].string_value = value
    fields["decision_id"].string_value = stamp.decision_id
    fields["policy_revision"].string_value = stamp.policy_revision


def _refusal(reason: Reason, stamp: Stamp, headers: Mapping[str, str]) -> wire.DeniedHttpResponse:
    spec = reason.spec
    refusal = wire.DeniedHttpResponse(
        status=wire.HttpStatus(code=spec.http_status),
        body=problem_body(spec, base_uri=stamp.errors_uri, decision_id=stamp.decision_id).decode(),
    )
    always = {"content-type": CONTENT_TYPE, "cache-control": "no-store", DECISION_ID_HEADER: stamp.decision_id}
    for name, value in {**always, **headers}.items():
        refusal.headers.add().header.MergeFrom(wire.HeaderValue(key=name, value=value))
    return refusal


def _deny_headers(deny: Deny, stamp: Stamp, request: AuthzRequest | None) -> Mapping[str, str]:
    headers = dict(deny.headers)
    if deny.challenge is not None:
        headers["www-authenticate"] = _challenges(deny.challenge, stamp, request)
    if deny.dpop_nonce:
        headers[DPOP_NONCE_HEADER] = deny.dpop_nonce
    if deny.retry_after_seconds is not None:
        headers["retry-after"] = str(deny.retry_after_seconds)
    return headers


def _challenges(challenge: Challenge, stamp: Stamp, request: AuthzRequest | None) -> str:
    names = {
        "realm": stamp.realm,
        "dpop_algorithms": stamp.dpop_algorithms,
        "resource_metadata": stamp.resource_metadata,
    }
    if not stamp.takes_bearer:
        return write_dpop_challenge(challenge, **names)
    return write_challenges(challenge, request.headers.get("authorization", "") if request else "", **names)
