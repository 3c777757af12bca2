"""Names are looked up where a zone that does not answer holds nothing else up."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from chassis import name_lookup
from chassis.http_client import FetchFailed, HttpClient
from chassis.name_lookup import MAX_LOOKUPS, NameLookup

REAL = socket.getaddrinfo


class SilentZone:
    """Stands in for the system: names under `.silent` are not answered before `answer` is called."""

    def __init__(self) -> None:
        self.asked = 0
        self._answers = threading.Event()

    def getaddrinfo(self, host, *arguments, **options):
        """Look up, or wait."""
        if str(host).endswith(".silent"):
            self.asked += 1
            self._answers.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return REAL(host, *arguments, **options)

    def answer(self) -> None:
        """Let all who wait go."""
        self._answers.set()


@pytest.fixture
def zone(monkeypatch):
    silent = SilentZone()
    monkeypatch.setattr(name_lookup.socket, "getaddrinfo", silent.getaddrinfo)
    monkeypatch.setattr(name_lookup, "_running", threading.BoundedSemaphore(MAX_LOOKUPS))
    yield silent
    silent.answer()
    for thread in lookups():
        thread.join(10)


def lookups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "name-lookup"]


async def test_address_is_found():
    found = await NameLookup().resolve("localhost", 443)
    assert {entry["host"] for entry in found} <= {"127.0.0.1", "::1"}
    assert {(entry["port"], entry["hostname"]) for entry in found} == {(443, "localhost")}


async def test_name_without_an_address_is_an_error(zone):
    zone.answer()
    with pytest.raises(socket.gaierror, match="no answer"):
        await NameLookup().resolve("nobody.silent", 443)
    with pytest.raises(OSError, match="no name"):
        await NameLookup().resolve("a" * 70 + ".test", 443)


async def test_many_silent_names_do_not_hold_up_another(zone):
    waiting = [asyncio.create_task(NameLookup().resolve(f"issuer{number}.silent", 443)) for number in range(60)]
    async with asyncio.timeout(10):
        while zone.asked < 60:  # noqa: ASYNC110 - threads set no event of the loop
            await asyncio.sleep(0.01)
        assert await NameLookup().resolve("localhost", 443)
    assert not any(task.done() for task in waiting)
    # The interpreter does not wait for such threads at its end.
    assert len(lookups()) >= 60
    assert all(thread.daemon for thread in lookups())
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_lookups_are_bounded_and_places_come_back(zone):
    waiting = [asyncio.create_task(NameLookup().resolve(f"n{number}.silent", 443)) for number in range(MAX_LOOKUPS)]
    async with asyncio.timeout(10):
        while zone.asked < MAX_LOOKUPS:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        with pytest.raises(OSError, match="too many names"):
            await NameLookup().resolve("localhost", 443)
        zone.answer()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {socket.gaierror}
        assert await NameLookup().resolve("localhost", 443)


async def test_fetch_from_a_silent_name_ends_in_time(zone):
    client = HttpClient()
    try:
        async with asyncio.timeout(5):
            with pytest.raises(FetchFailed, match="timed out"):
                await client.get("https://keys.silent/jwks.json", max_bytes=100, timeout_seconds=0.2)
    finally:
        async with asyncio.timeout(5):
            await client.stop()
