"""Builders of the cases on where a token stands, and on refusals as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from extauthz.servicer import CHECK_METHOD
from helpers.cases.registry import Before, builds
from helpers.cases.request import Request, bearer, payment, plain
from helpers.cases.rig import CaseRig

Requests = AsyncIterator[Request | Before]
FORM = "application/x-www-form-urlencoded"


@builds("P02")
async def another_scheme(rig: CaseRig) -> Requests:
    yield plain().with_headers(("authorization", "Basic dXNlcjpwYXNz"))


@builds("P04")
async def token_in_the_query_too(rig: CaseRig) -> Requests:
    token = rig.token()
    yield bearer(token, path=f"/v1/payments?access_token={token}")


@builds("P05")
async def token_in_a_form_too(rig: CaseRig) -> Requests:
    token = rig.token()
    yield bearer(token, body=f"amount=1&access_token={token}".encode()).with_header("content-type", FORM)


@builds("P06")
async def two_schemes(rig: CaseRig) -> Requests:
    token = rig.token()
    yield bearer(token).with_headers(("authorization", f"DPoP {token}"))


@builds("P11")
async def token_of_ten_megabytes(rig: CaseRig) -> Requests:
    yield bearer(rig.token(padding="x" * 7_500_000))


@builds("www-authenticate-on-401")
async def no_credentials(rig: CaseRig) -> Requests:
    yield plain()


@builds("json-client-gets-problem-json")
async def json_is_accepted(rig: CaseRig) -> Requests:
    yield plain().with_headers(("accept", "application/json"))


@builds("raw-header-mode", "non-utf8-header-value")
async def good_request(rig: CaseRig) -> Requests:
    yield bearer(rig.token()).with_headers(("x-note", "caf\udce9"))


@builds("unknown-host")
async def host_without_route(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), host="other.test")


@builds("no-rule-matches-is-deny")
async def path_without_route(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), path="/anything")


@builds("invalid-check-request")
async def no_http_part(rig: CaseRig) -> Requests:
    yield Request(is_bare=True)


@builds("cancelled-or-late-request")
async def no_time_left(rig: CaseRig) -> Requests:
    servicer = rig.service.methods[CHECK_METHOD]

    async def late(data: bytes, deadline: float) -> bytes:
        return await servicer(data, rig.clock.monotonic() - 1.0)

    rig.service.methods = {CHECK_METHOD: late}
    try:
        yield bearer(rig.token())
    finally:
        rig.service.methods = {CHECK_METHOD: servicer}


@builds("strip-credential-upstream")
async def header_of_ours(rig: CaseRig) -> Requests:
    yield bearer(rig.token()).with_headers(("x-tollhouse-secret", "s"))


@builds("add-client-response-header")
async def plain_good_request(rig: CaseRig) -> Requests:
    yield bearer(rig.token())


@builds("decision-id-in-metadata-on-allow-and-deny")
async def good_and_bad_request(rig: CaseRig) -> Requests:
    yield bearer(rig.token())
    yield plain()


class BrokenTables:
    """A snapshot that fails as soon as it is used."""

    revision = "broken"
    dpop_algorithms = ""
    resource_metadata = ""

    @property
    def routes(self) -> object:
        raise RuntimeError("Traceback in site-packages")


@builds("handler-exception-leaks-nothing", needs_own_rig=True)
async def fault_of_our_own(rig: CaseRig) -> Requests:
    servicer = rig.service.methods[CHECK_METHOD].__self__  # type: ignore[attr-defined]
    servicer._tables = BrokenTables
    yield bearer(rig.token())


@builds("cookie-and-bearer-together")
async def cookie_beside_the_token(rig: CaseRig) -> Requests:
    for name, value in (("cookie", "session=abc"), ("x-tollhouse-cookie", "s")):
        yield bearer(rig.token(), path="/v1/machine-payments").with_headers((name, value))


@builds("anonymous-only-where-named")
async def without_credentials(rig: CaseRig) -> Requests:
    for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/admin")):
        yield plain(method=method, path=path, body=b"")


@builds("json-body-field-rule", "raw-body-used-when-pack-as-bytes")
async def body_that_a_rule_reads(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), path="/v1/words", body=b'{"firstname":"foo","lastname":"bar","dept":{"it":"eng"}}')


@builds("json-body-rule-without-content-type")
async def body_without_type(rig: CaseRig) -> Requests:
    yield Request(headers=(("authorization", f"Bearer {rig.token()}"),), path="/v1/words", body=b"foo")


@builds("malformed-json-body")
async def half_a_body(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), body=b'{"a":')


@builds("duplicate-json-keys")
async def amount_twice(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), body=b'{"merchant_id":"m_100","currency":"EUR","amount":1,"amount":999999}')


@builds("partial-body-flag")
async def cut_off_body(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), body=payment(amount=1), size=100).with_headers(("x-envoy-auth-partial-body", "true"))


@builds("not-partial-flag-is-parsed")
async def whole_body(rig: CaseRig) -> Requests:
    yield bearer(rig.token()).with_headers(("x-envoy-auth-partial-body", "false"))


@builds("dry-run-allows-but-records-deny")
async def rule_in_shadow(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), path="/v1/shadowed", body=b'{"firstname":"foo","dept":{"it":"x"}}')


@builds("deny-rule-with-missing-attribute-denies")
async def payment_without_country(rig: CaseRig) -> Requests:
    yield Before(bearer(rig.token(), path="/v1/by-country", body=payment(country="FR")))
    yield bearer(rig.token(), path="/v1/by-country")


@builds("condition-not-met-is-not-an-error")
async def rule_for_another_method(rig: CaseRig) -> Requests:
    yield bearer(rig.token(), method="GET", path="/v1/look", body=b"")
