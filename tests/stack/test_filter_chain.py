"""The filter chain with a stub in extauthz' place, and the real ratelimit and upstream behind it."""

import asyncio
import dataclasses
import http.client
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from helpers.gate_stubs import HANDOFF, StubExtauthz, allow, serving, set_header
from tollhouse.probe import get_text, wait_until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import Ports, choose_ports
from tollhouse.up.stack import Stack, envoy_command

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = b'{"merchant_id": "m_active"}'
ROUTE = "              - match: {prefix: /}\n"
NOT_CHECKED = (
    ROUTE + "                typed_per_filter_config:\n"
    "                  envoy.filters.http.ext_authz:\n"
    '                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n'
    "                    disabled: true\n"
)


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class Chain:
    """One Envoy of its own on the reference chain, or on a changed copy."""

    def __init__(self, stack: Stack, ports: Ports, extauthz: StubExtauthz, log: Path) -> None:
        self.extauthz = extauthz
        self.log = log
        self._stack = stack
        self._ports = ports

    async def send(self, path: str = "/v1/payments", *, method: str = "POST", **more: Any) -> Reply:
        return await asyncio.to_thread(self._send, path, method, more.get("body", BODY), more.get("headers", {}))

    def _send(self, path: str, method: str, body: bytes, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports.envoy, timeout=15)
        try:
            connection.request(method, path, body=body, headers={"content-type": "application/json", **headers})
            response = connection.getresponse()
            return Reply(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def upstream(self) -> dict[str, Any]:
        return self._stack.upstream_stats()

    def admin(self, path: str) -> str | None:
        return get_text(self._ports.envoy_admin, path)


ChainMaker = Callable[[Callable[[str], str]], Any]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def make_chain(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChainMaker]:
    async with AsyncExitStack() as closing:

        async def make(change: Callable[[str], str]) -> Chain:
            directory = tmp_path_factory.mktemp("chain")
            ports = dataclasses.replace(
                choose_ports(None), ratelimit=stack.ports.ratelimit, upstream=stack.ports.upstream
            )
            configuration = directory / "envoy.yaml"
            configuration.write_text(change(on_ports(read_reference(), ports)), "utf-8")
            extauthz = StubExtauthz()
            await closing.enter_async_context(serving(extauthz, ports.extauthz))
            log = directory / "access.jsonl"
            spec = ChildSpec("envoy", envoy_command(configuration), directory / "envoy.log", log)
            envoy = Child(spec, lambda _: None)
            await envoy.start()
            closing.push_async_callback(envoy.stop)
            assert await wait_until(lambda: get_text(ports.envoy_admin, "/ready") is not None, 20), envoy.last_lines()
            return Chain(stack, ports, extauthz, log)

        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain(make_chain: ChainMaker) -> Chain:
    return await make_chain(lambda text: text)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unchecked_chain(make_chain: ChainMaker) -> Chain:
    """The chain with ext_authz disabled on its route, as a copy of the file might have it."""

    def change(text: str) -> str:
        assert text.count(ROUTE) == 1
        return text.replace(ROUTE, NOT_CHECKED)

    return await make_chain(change)


async def test_complete_handoff_reaches_the_upstream(chain: Chain) -> None:
    chain.extauthz.answer = allow(HANDOFF)
    before = chain.upstream()["requests"]

    reply = await chain.send()

    assert reply.status == 200
    assert chain.upstream()["requests"] == before + 1


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="no metadata"),
        pytest.param({}, id="empty metadata"),
        pytest.param(dict.fromkeys(HANDOFF, ""), id="empty values"),
        pytest.param(dict.fromkeys(HANDOFF, 1250), id="numbers"),
        pytest.param({**HANDOFF, "amount_minor": 1250}, id="the amount as a number"),
        pytest.param({**HANDOFF, "merchant_id": ["m_active"]}, id="a list"),
        pytest.param({key: value for key, value in HANDOFF.items() if key != "card_key"}, id="one entry short"),
    ],
)
async def test_allow_without_a_complete_handoff_is_refused(chain: Chain, metadata: dict[str, Any] | None) -> None:
    chain.extauthz.answer = allow(metadata)
    before = chain.upstream()["requests"]

    reply = await chain.send()

    assert reply.status == 403
    assert reply.problem["reason"] == "handoff_invalid"
    assert reply.headers["content-type"] == "application/problem+json"
    assert chain.upstream()["requests"] == before


async def test_route_without_ext_authz_is_refused(unchecked_chain: Chain) -> None:
    before = unchecked_chain.upstream()["requests"]

    reply = await unchecked_chain.send(headers={"x-tollhouse-merchant-id": "m_active"})

    assert unchecked_chain.extauthz.requests == []
    assert reply.status == 403
    assert reply.problem["reason"] == "handoff_invalid"
    assert unchecked_chain.upstream()["requests"] == before


@pytest.mark.parametrize("name", [":path", "host", "x-envoy-upstream-rq-timeout-ms", "content-type"])
async def test_authorizer_cannot_change_where_a_request_goes(chain: Chain, name: str) -> None:
    chain.extauthz.answer = set_header(name)
    before = chain.upstream()["requests"]

    reply = await chain.send()

    assert reply.status == 500
    assert reply.problem["reason"] == "gateway_error"
    assert chain.upstream()["requests"] == before


async def test_own_headers_of_the_caller_are_gone_before_the_check(chain: Chain) -> None:
    chain.extauthz.answer = set_header("x-tollhouse-review")
    sent = {
        "x-tollhouse-merchant-id": "m_other",
        "X-Tollhouse-Review": "false",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-request-id": "chosen",
    }

    reply = await chain.send(headers=sent)

    checked = chain.extauthz.requests[-1].attributes.request.http.header_map.headers
    names = {header.key for header in checked}
    assert reply.status == 200
    assert not [name for name in names if name.startswith("x-tollhouse-")]
    assert "x-envoy-upstream-rq-timeout-ms" not in names
    assert reply.headers["x-request-id"] != "chosen"
    assert "x-tollhouse-review" in chain.upstream()["last_headers"]


@pytest.mark.parametrize(
    ("path", "sent", "status", "reason"),
    [
        pytest.param("/v1%2fpayments", {}, 400, "gateway_request_malformed", id="an escaped slash"),
        pytest.param("/v1%5Cpayments", {}, 400, "gateway_request_malformed", id="an escaped backslash"),
        pytest.param("/v1/payments", {"x_tollhouse_a": "1"}, 400, "gateway_request_malformed", id="an underscore"),
        pytest.param("/v1/payments", {"long": "a" * 40_000}, 431, "gateway_request_malformed", id="long headers"),
    ],
)
async def test_ambiguous_request_is_refused_by_envoy(
    chain: Chain, path: str, sent: dict[str, str], status: int, reason: str
) -> None:
    checked, before = len(chain.extauthz.requests), chain.upstream()["requests"]

    reply = await chain.send(path, headers=sent)

    assert reply.status == status
    assert reply.problem["reason"] == reason
    assert reply.headers["content-type"] == "application/problem+json"
    assert len(chain.extauthz.requests) == checked
    assert chain.upstream()["requests"] == before


async def test_problem_of_envoy_leads_to_its_line_in_the_access_log(chain: Chain) -> None:
    reply = await chain.send("/v1%2Fpayments", headers={"x-request-id": "chosen by the caller"})
    stream = reply.problem["instance"].removeprefix("urn:tollhouse:stream:")

    assert reply.problem["request_id"] == stream
    assert await wait_until(lambda: f'"stream":"{stream}"' in chain.log.read_text("utf-8"), 5)


async def test_body_above_the_limit_is_413(chain: Chain) -> None:
    chain.extauthz.answer = allow(HANDOFF)
    checked = len(chain.extauthz.requests)

    reply = await chain.send(body=b"a" * 65_537)

    assert reply.status == 413
    assert reply.problem["reason"] == "gateway_body_too_large"
    assert len(chain.extauthz.requests) == checked


async def test_body_at_the_limit_is_checked_whole(chain: Chain) -> None:
    chain.extauthz.answer = allow(HANDOFF)
    body = bytes(range(256)) * 256

    reply = await chain.send(body=body)

    assert reply.status == 200
    assert chain.extauthz.requests[-1].attributes.request.http.raw_body == body


async def test_authorizer_that_never_answers_is_a_refusal(chain: Chain) -> None:
    before = chain.upstream()["requests"]
    chain.extauthz.is_silent = True
    try:
        reply = await chain.send()
    finally:
        chain.extauthz.is_silent = False

    assert reply.status == 503
    assert reply.problem["reason"] == "gateway_authorization_unavailable"
    assert reply.headers["retry-after"] == "1"
    assert chain.upstream()["requests"] == before


@pytest.mark.parametrize("origin", ["https://console.tollhouse.test", "https://elsewhere.test"])
async def test_preflight_is_answered_before_the_check(chain: Chain, origin: str) -> None:
    checked, before = len(chain.extauthz.requests), chain.upstream()["requests"]

    reply = await chain.send(
        method="OPTIONS", body=b"", headers={"origin": origin, "access-control-request-method": "POST"}
    )

    allowed = {"https://console.tollhouse.test": origin}.get(origin)
    assert reply.status == 200
    assert reply.headers.get("access-control-allow-origin") == allowed
    assert len(chain.extauthz.requests) == checked
    assert chain.upstream()["requests"] == before


async def test_cookies_do_not_reach_the_authorizer(chain: Chain) -> None:
    chain.extauthz.answer = allow(HANDOFF)

    await chain.send(headers={"cookie": "session=secret"})

    headers = chain.extauthz.requests[-1].attributes.request.http.header_map.headers
    assert "cookie" not in {header.key for header in headers}
    assert [header.raw_value for header in headers if header.key == "x-tollhouse-cookie"] == [b"s"]
    await chain.send(headers={"x-tollhouse-cookie": "forged"})
    headers = chain.extauthz.requests[-1].attributes.request.http.header_map.headers
    assert "x-tollhouse-cookie" not in {header.key for header in headers}


@pytest.mark.parametrize("path", ["/config_dump", "/quitquitquit", "/runtime", "/logging"])
async def test_admin_pages_that_tell_or_change_too_much_are_closed(chain: Chain, path: str) -> None:
    assert chain.admin("/ready") is not None
    assert chain.admin(path) is None
