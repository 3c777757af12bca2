"""`/json` and the debug view: cases J01 to J05 of tests/cases/ratelimit.yaml, and who may not ask."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from helpers.descriptor_service import SHOP, descriptor_service, descriptor_settings
from ratelimit.descriptors.pages import http_status, page_address

ASKED = {"domain": "shop", "descriptors": [{"entries": [{"key": "plan", "value": "free"}]}]}


@dataclass
class Pages:
    url: str
    session: aiohttp.ClientSession

    async def post(self, body: str, **headers: str) -> tuple[int, str, str]:
        async with self.session.post(f"{self.url}/json", data=body, headers=headers) as answer:
            return answer.status, await answer.text(), answer.content_type

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as answer:
            return answer.status, await answer.text()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    address = f"127.0.0.1:{_free_port()}"
    settings = descriptor_settings(tmp_path, SHOP, json_listen=address)
    async with descriptor_service(settings), aiohttp.ClientSession() as session:
        yield Pages(f"http://{address}", session)


async def test_body_under_the_limit_is_200_and_over_it_429(pages):
    status, text, content_type = await pages.post(json.dumps(ASKED))
    assert (status, content_type) == (200, "application/json")
    assert json.loads(text)["overallCode"] == "OK"
    status, text, content_type = await pages.post(json.dumps(ASKED))
    assert (status, content_type) == (429, "application/json")
    answer = json.loads(text)
    assert (answer["overallCode"], answer["statuses"][0]["code"]) == ("OVER_LIMIT", "OVER_LIMIT")


async def test_snake_case_and_numbers_as_text_are_read(pages):
    asked = {"domain": "shop", "hits_addend": "2", "descriptors": [{"entries": [{"key": "user", "value": "u"}]}]}
    status, text, _ = await pages.post(json.dumps(asked))
    assert (status, json.loads(text)["statuses"][0]["limitRemaining"]) == (200, 1)


@pytest.mark.parametrize("body", ["}", "", "[]", '{"domain": "shop", "colour": 1}', "\0"])
async def test_body_that_cannot_be_read_is_400_in_their_words(pages, body):
    assert (await pages.post(body))[:2] == (400, "Bad Request\n")


def test_code_unknown_is_500():
    assert http_status(0) == 500


async def test_large_body_web_page_and_foreign_name_are_refused(pages):
    assert (await pages.post("x" * 70_000))[0] == 413
    assert (await pages.post(json.dumps(ASKED), Origin="https://evil.test"))[0] == 403
    assert (await pages.post(json.dumps(ASKED), Host="evil.test"))[0] == 421
    assert (await pages.post(json.dumps(ASKED)))[0] == 200


async def test_get_of_json_is_refused(pages):
    assert (await pages.get("/json"))[0] == 405


async def test_debug_view_lists_limits_with_their_places(pages):
    assert await pages.get("/rlconfig") == (200, "shop.plan_free: 1 per minute\nshop.user: 3 per hour\n")
    shown = json.loads((await pages.get("/descriptors"))[1])
    assert {limit["rule"]: limit["place"] for limit in shown["limits"]}["shop.user"].startswith("0.yaml:4:")


@pytest.mark.parametrize("text", ["0.0.0.0:6070", "example.test:6070"])
def test_address_that_others_can_reach_is_refused(text):
    with pytest.raises(ValueError, match="listen"):
        page_address(text)
