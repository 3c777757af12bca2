"""The store of our own: private, empty at every start, gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from helpers.store_faults import until
from helpers.valkey import administrator, embedded, running
from tollhouse.embedded_store import EmbeddedStore, EmbeddedStoreFailed


async def test_listens_on_a_private_socket_alone_and_never_evicts():
    async with running() as store, administrator(store.url) as admin:
        home = Path(store.url.removeprefix("unix://")).parent
        assert home.stat().st_mode & 0o777 == 0o700
        settings = await admin.config_get("*")
        assert (settings["port"], settings["maxmemory-policy"]) == ("0", "noeviction")
        assert (settings["save"], settings["appendonly"]) == ("", "no")
    assert not home.exists()
    assert store.pid is None


async def test_started_again_it_is_empty_at_the_same_url():
    store = embedded()
    url = await store.start()
    assert await store.start() == url, "a second start leaves a running server alone"
    async with administrator(url) as admin:
        await admin.set("a", 1)
    await store.stop()
    assert await store.start() == url
    async with administrator(url) as admin:
        assert await admin.get("a") is None
    await store.close()
    await store.close()


async def test_stop_ends_a_paused_server():
    async with running() as store:
        os.kill(store.pid, signal.SIGSTOP)
        await store.stop()
        assert store.pid is None


async def test_program_that_cannot_run_is_told(tmp_path):
    for program in (tmp_path / "absent", Path("/bin/false")):
        store = EmbeddedStore(str(program))
        with pytest.raises(EmbeddedStoreFailed, match="did not start"):
            await store.start()
        assert store.pid is None


PARENT = """
import asyncio, sys
from tollhouse.embedded_store import EmbeddedStore

async def main():
    store = EmbeddedStore()
    print(await store.start(), store.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
async def test_parent_killed_takes_the_server_along(tmp_path):
    root = Path(__file__).parents[2]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, cwd=root, stdout=asyncio.subprocess.PIPE, env={"TMPDIR": str(tmp_path)}
    )
    assert parent.stdout is not None
    _, pid = (await parent.stdout.readline()).split()
    status = Path(f"/proc/{int(pid)}/stat")
    assert _is_running(status)
    parent.kill()
    await parent.wait()
    await until(lambda: not _is_running(status))


def _is_running(status: Path) -> bool:
    """Whether the process of a proc(5) stat file runs; one that nobody has waited for yet does not."""
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
