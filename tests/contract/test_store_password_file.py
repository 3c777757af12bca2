"""A store that asks for a password gets the one in the file, and a new one without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.store_link import StoreSettings
from chassis.store_url import StoreLogin, connection_factory
from helpers.valkey import SERVERS, administrator, running
from helpers.waiting import until
from ratelimit.ledger import Entry, Hold, Identity, Kind, Outcome, Posting, Settled, Settlement, Status
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
            await _use_every_kind(counters)
        finally:
            await counters.stop()
    for secret in ("wrong-password", "first-password", "second-password"):
        assert secret not in caplog.text


async def _use_every_kind(ledger: StoreLedger) -> None:
    """Count in every way there is, and give back: the rules for the user name every command of the scripts."""
    common = {"limit": 5, "cost": 1, "expires_in_seconds": 60}
    entries = [
        Entry("tollhouse:1:{m}:day", **common, is_once=True, is_held=True),
        Entry("tollhouse:1:{m}:hour", **common, kind=Kind.SLIDING, step=60_000, buckets=60, is_once=True, is_held=True),
        Entry("tollhouse:1:{m}:rate", **common, kind=Kind.RATE, step=1000),
        Entry("tollhouse:1:{m}:cards", **common, kind=Kind.DISTINCT, step=60_000, member="c"),
        Entry("tollhouse:1:{m}:flight", **common, kind=Kind.LEASE, step=60_000, member="d"),
    ]
    for decision in ("d1", "d2"):
        identity = Identity("tollhouse:1:{m}:id", "digest", 60)
        hold = Hold(f"tollhouse:1:{{m}}:hold:{decision}", decision, "m", 60, identity)
        await ledger.post(Posting(entries, hold=hold), CLOCK.monotonic() + 5)
        settlement = Settlement(hold.key, decision, "m", Outcome.RELEASED)
        assert await ledger.settle(settlement, CLOCK.monotonic() + 5) is Settled.DONE


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
