"""New certificates without a restart, on either transport, while calls go on; broken ones are not taken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from helpers import waiting
from helpers.certificates import Caller, ServerFiles, authority, client_pair, server_pair
from helpers.echo_service import PACKAGE
from helpers.transport_rig import TRANSPORTS, EchoProcess, can_run, readyz, until
from tollhouse.development_authority import Authority

pytestmark = pytest.mark.slow

RELOADS = "tollhouse_tls_reloads_total"
FAILURES = "tollhouse_tls_reload_failures_total"


@dataclass(frozen=True)
class Rig:
    server: EchoProcess
    files: ServerFiles
    old: Authority


@pytest.fixture(params=TRANSPORTS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    old = authority("old")
    files = ServerFiles(tmp_path)
    files.put(server_pair(old), old.certificate)
    with EchoProcess(request.param, files.options()) as process:
        yield Rig(process.serving(), files, old)


async def until_taken(server: EchoProcess, change: Callable[[], None], sample: str = RELOADS) -> None:
    """Make a change and wait until the server has counted it."""

    def wait() -> None:
        before = server.count(sample)
        change()
        until(lambda: server.count(sample) > before, sample, 20.0)

    await asyncio.to_thread(wait)


@dataclass
class Load:
    """Calls that go on: on one connection, and each on a new one."""

    address: str
    caller: Caller
    served: int = 0

    async def goes_on(self) -> None:
        before = self.served
        await waiting.until(lambda: self.served >= before + 20)

    async def on_one_connection(self, stop: asyncio.Event) -> None:
        async with self.caller.channel(self.address) as channel:
            while not stop.is_set():
                assert await channel.unary_unary(PACKAGE + "Echo")(b"kept", timeout=10.0) == b"kept"
                self.served += 1

    async def on_new_connections(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            assert await self.caller.echo(self.address) == b"ping"
            self.served += 1


@asynccontextmanager
async def calls(address: str, caller: Caller) -> AsyncIterator[Load]:
    """Keep calling meanwhile; a failed call fails the test."""
    load, stop = Load(address, caller), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.on_one_connection(stop))
        for _ in range(2):
            group.create_task(load.on_new_connections(stop))
        try:
            yield load
        finally:
            stop.set()


async def presented(address: str, trusted: bytes, pair_of: Authority) -> bool:
    """Whether the server shows a certificate of `trusted` to a caller of `pair_of`, and lets it in."""
    try:
        return await Caller(trusted, client_pair(pair_of)).echo(address) == b"ping"
    except grpc.aio.AioRpcError:
        return False


async def test_certificate_and_authority_change_under_calls_and_none_fails(rig: Rig):
    new = authority("new")
    both = rig.old.certificate + new.certificate
    address = rig.server.address

    async with calls(address, Caller(both, client_pair(rig.old))) as load:
        await until_taken(rig.server, lambda: rig.files.put(client_ca=both))
        await until_taken(rig.server, lambda: rig.files.put(server_pair(new)))
        await load.goes_on()
        load.caller = Caller(both, client_pair(new))
        await load.goes_on()
    async with calls(address, Caller(new.certificate, client_pair(new))) as load:
        await until_taken(rig.server, lambda: rig.files.put(client_ca=new.certificate))

    assert load.served > 20
    assert await presented(address, new.certificate, new)
    assert not await presented(address, new.certificate, rig.old)
    assert not await presented(address, rig.old.certificate, new)


async def test_linked_directory_that_is_swapped_is_followed(tmp_path: Path):
    """As Kubernetes does it: the files are links into `..data`, itself a link that is moved over."""
    old, new = authority("old"), authority("new")
    for name, signer in (("1", old), ("2", new)):
        (tmp_path / name).mkdir()
        ServerFiles(tmp_path / name).put(server_pair(signer), old.certificate)
    (tmp_path / "..data").symlink_to("1")
    for name in ("tls.pem", "tls.key", "ca.pem"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    def swap() -> None:
        (tmp_path / "..new").symlink_to("2")
        os.replace(tmp_path / "..new", tmp_path / "..data")

    for transport in filter(can_run, TRANSPORTS):
        with EchoProcess(transport, ServerFiles(tmp_path).options()) as process:
            server = process.serving()
            async with calls(server.address, Caller(old.certificate + new.certificate, client_pair(old))):
                await until_taken(server, swap)
            assert await presented(server.address, new.certificate, old)
        (tmp_path / "..data").unlink()
        (tmp_path / "..data").symlink_to("1")


def half_written(rig: Rig) -> None:
    rig.files.put_bytes("tls.pem", server_pair(rig.old).certificate[:200])


def another_key(rig: Rig) -> None:
    rig.files.put_bytes("tls.key", server_pair(rig.old).private_key)


def gone(rig: Rig) -> None:
    (rig.files.directory / "tls.key").unlink()


def no_authority(rig: Rig) -> None:
    rig.files.put_bytes("ca.pem", b"")


async def test_broken_files_leave_the_last_good_ones_and_are_told(rig: Rig):
    caller = Caller(rig.old.certificate, client_pair(rig.old))
    async with calls(rig.server.address, caller):
        for breaks in (half_written, another_key, gone, no_authority):
            await until_taken(rig.server, lambda breaks=breaks: breaks(rig), FAILURES)
            status, page = await asyncio.to_thread(readyz, rig.server)
            assert status == 200
            assert [text for text in page["warnings"] if text.startswith("the last good TLS files serve on: ")]
            assert rig.server.count("tollhouse_tls_stale") == 1
            assert await caller.echo(rig.server.address) == b"ping"
            await until_taken(rig.server, lambda: rig.files.put(server_pair(rig.old), rig.old.certificate))
            assert rig.server.count("tollhouse_tls_stale") == 0

    assert rig.server.output().count("tls_files_invalid") == 4
