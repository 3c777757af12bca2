"""A store that asks for a password gets the one in the file, and a new one without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreSettings
from chassis.store_url import StoreLogin, connection_factory
from helpers.valkey import SERVERS, administrator, running
from helpers.waiting import until
from ratelimit.ledger import Entry, Posting, Status
from ratelimit.store_ledger import StoreLedger
from tollhouse.configuration_page import STORE_RULES

CLOCK = SystemClock()


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("username", ["", "limiter"])
async def test_password_of_the_file_opens_the_store_also_after_it_was_changed(tmp_path, caplog, server, username):
    path = tmp_path / "store.password"
    write(path, "wrong-password\n")
    async with running(server) as store, administrator(store.url) as admin:
        user = username or "default"
        await admin.execute_command("ACL", "SETUSER", "limiter", "on", ">first-password", *STORE_RULES.split())
        if not username:
            await admin.acl_setuser("default", enabled=True, reset_passwords=True, passwords=["+first-password"],
                                    keys=["*"], commands=["+@all"])  # fmt: skip
        login = StoreLogin(str(path), username)
        counters = StoreLedger.from_url(store.url, CLOCK, StoreSettings(login=login, max_backoff_seconds=0.1))
        await counters.start()
        try:
            await until(lambda: "store_connect_failed" in caplog.text)
            write(path, "first-password\n")
            await until(lambda: counters.is_available)
            assert (await _hit(counters)).status is Status.CHARGED
            await admin.acl_setuser(user, enabled=True, reset_passwords=True, passwords=["+second-password"])
            write(path, "second-password")
            await admin.client_kill_filter(user=user, skipme=True)
            await until(lambda: not counters.is_available)
            await until(lambda: counters.is_available)
            assert (await _hit(counters)).readings[0].used == 2
        finally:
            await counters.stop()
    for secret in ("wrong-password", "first-password", "second-password"):
        assert secret not in caplog.text


async def _hit(counters: StoreLedger):
    return await counters.post(Posting([Entry("tollhouse:1:{m}:q:w", 5, 1, 60)]), CLOCK.monotonic() + 5.0)


@pytest.mark.parametrize("content", [None, "", "two\nlines\n", "a\x00b", "\n"])
async def test_file_without_one_line_is_no_connection_and_no_hit(tmp_path, caplog, content):
    path = tmp_path / "store.password"
    if content is not None:
        write(path, content)
    async with running() as store:
        counters = StoreLedger.from_url(store.url, CLOCK, StoreSettings(login=StoreLogin(str(path))))
        await counters.start()
        try:
            await until(lambda: caplog.text.count("store_connect_failed") > 1)
            assert f"store_login: {path}" in caplog.text
            assert not counters.is_available
        finally:
            await counters.stop()


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@store.test", "redis://u@store.test", "redis://store.test?password=x"]
)
def test_password_in_file_and_url_at_once_is_refused(url):
    with pytest.raises(ValueError, match="store URL") as caught:
        connection_factory(url, 1.0, StoreLogin("/nowhere"))
    assert "hunter2" not in str(caught.value)
