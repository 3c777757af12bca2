"""The metadata of the API through a real Envoy: open to everyone, and no way past the checks."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from policy.resource import METADATA_PATH
from tollhouse.probe import get_text, wait_until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.ports import choose_ports
from tollhouse.up.stack import Stack, envoy_command

pytestmark = pytest.mark.asyncio(loop_scope="session")

Reply = tuple[int, dict[str, str], bytes]


def send(address: tuple[str, int], path: str, method: str = "GET", **headers: str) -> Reply:
    connection = http.client.HTTPConnection(*address, timeout=15)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lonely(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, int]]:
    """An Envoy on the reference chain with nothing behind it: whatever needs a check is a 503."""
    directory: Path = tmp_path_factory.mktemp("lonely")
    ports = choose_ports(None)
    configuration = directory / "envoy.yaml"
    configuration.write_text(on_ports(read_reference(), ports), "utf-8")
    spec = ChildSpec("envoy", envoy_command(configuration), directory / "envoy.log", directory / "access.jsonl")
    envoy = Child(spec, lambda _: None)
    await envoy.start()
    try:
        assert await wait_until(lambda: get_text(ports.envoy_admin, "/ready") is not None, 20), envoy.last_lines()
        yield "127.0.0.1", ports.envoy
    finally:
        await envoy.stop()


@pytest.mark.parametrize("path", [METADATA_PATH, METADATA_PATH + "?x=1"])
async def test_metadata_needs_neither_a_token_nor_a_service(lonely: tuple[str, int], path: str) -> None:
    status, headers, body = send(lonely, path)

    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "max-age=300"
    assert json.loads(body)["resource"] == "https://payments.tollhouse.test"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", METADATA_PATH),
        ("PUT", METADATA_PATH),
        ("GET", METADATA_PATH + "/"),
        ("GET", METADATA_PATH + "/v1/payments"),
        ("GET", METADATA_PATH + ";/v1/payments"),
        ("GET", METADATA_PATH.upper()),
        ("GET", METADATA_PATH + "/../../v1/payments"),
        ("GET", "/v1/payments" + METADATA_PATH),
    ],
)
async def test_every_other_request_is_checked(lonely: tuple[str, int], method: str, path: str) -> None:
    assert send(lonely, path, method)[0] == 503


@pytest.mark.parametrize("name", ["x-http-method-override", "x-original-url", "x-rewrite-url", "x-envoy-original-path"])
async def test_no_header_turns_a_payment_into_the_metadata(lonely: tuple[str, int], name: str) -> None:
    assert send(lonely, "/v1/payments", "POST", **{name: METADATA_PATH})[0] == 503


async def test_challenge_leads_to_the_metadata_of_this_stack(stack: Stack) -> None:
    status, headers, _ = send(stack.gate_address, "/v1/payments", "POST")
    _, _, body = send(stack.gate_address, METADATA_PATH)

    assert status == 401
    assert f'resource_metadata="https://payments.tollhouse.test{METADATA_PATH}"' in headers["www-authenticate"]
    assert json.loads(body)["authorization_servers"] == [stack.issuer_url]
