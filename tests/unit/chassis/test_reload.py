"""The snapshot holder on real directories: what changes is taken up, what is broken is not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import chassis.reload
from chassis.clock import SystemClock
from chassis.reload import Loaded, LoadFailed, Reloader, ReloadTiming
from helpers.clock import FakeClock
from helpers.waiting import until

QUICK = ReloadTiming(settle_seconds=0.02, settle_limit_seconds=5.0, poll_seconds=0.1)
EVENTS_ONLY = ReloadTiming(settle_seconds=0.02, settle_limit_seconds=5.0, poll_seconds=3600.0)


class Directory:
    """A policy directory of one file; its text is its meaning, and `broken` does not load."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loads: list[str] = []
        self.swaps: list[tuple[str | None, str]] = []
        self.failures: list[tuple[str, ...]] = []

    def fingerprint(self) -> str:
        return (self.root / "policy").read_text()

    def load(self) -> Loaded[str]:
        text = (self.root / "policy").read_text()
        self.loads.append(text)
        if text == "broken":
            raise LoadFailed(("policy:1:1: P001 broken",))
        if text.startswith("raise"):
            raise RuntimeError("text of an exception")
        return Loaded(text, revision=f"r-{text}")

    def write(self, text: str) -> None:
        (self.root / "policy").write_text(text)


async def write_until_seen(directory: Directory, reloader: Reloader[str], text: str) -> None:
    """Change the directory until a change is seen: the watch begins in a thread, and misses what comes earlier."""
    for number in range(10):
        directory.write(f"{text} {number}")
        with contextlib.suppress(TimeoutError):
            await until(lambda: reloader.current.startswith(text), seconds=1)
            return
    raise AssertionError("no event arrived")


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    root = tmp_path / "policies"
    root.mkdir()
    made = Directory(root)
    made.write("one")
    return made


@pytest.fixture
async def follow(directory: Directory) -> AsyncIterator[Callable[..., Any]]:
    started: list[Reloader[str]] = []

    async def start(timing: ReloadTiming = QUICK, **changes: Any) -> Reloader[str]:
        reloader = holder(directory, timing=timing, **changes)
        reloader.load_initial()
        await reloader.start()
        started.append(reloader)
        return reloader

    yield start
    for reloader in started:
        await reloader.stop()


def holder(directory: Directory, **changes: Any) -> Reloader[str]:
    options: dict[str, Any] = {
        "clock": SystemClock(),
        "on_swap": lambda old, new: directory.swaps.append((old, new)),
        "on_failure": directory.failures.append,
        "timing": QUICK,
    }
    options.update(changes)
    load, fingerprint = options.pop("load", directory.load), options.pop("fingerprint", directory.fingerprint)
    return Reloader(directory.root, load, fingerprint, **options)


async def test_reload_of_a_changed_file_swaps_the_snapshot(directory: Directory, follow: Callable[..., Any]):
    reloader = await follow()
    assert (reloader.current, reloader.revision) == ("one", "r-one")
    directory.write("two")
    await until(lambda: reloader.current == "two")
    assert directory.swaps == [(None, "one"), ("one", "two")]
    assert reloader.status()["reloads"] == 1


async def test_reload_by_events_alone_swaps_without_a_poll(directory: Directory, follow: Callable[..., Any]):
    reloader = await follow(EVENTS_ONLY)
    await write_until_seen(directory, reloader, "event")
    assert reloader.status()["watching"] == "events"


async def test_reload_of_a_broken_set_keeps_the_last_good_one_and_says_so(
    directory: Directory, follow: Callable[..., Any]
):
    reloader = await follow()
    directory.write("broken")
    await until(lambda: reloader.status()["failed_reloads"])
    status = reloader.status()
    assert (reloader.current, status["revision"]) == ("one", "r-one")
    assert status["last_error"] == "policy:1:1: P001 broken"
    assert status["last_error_at"].endswith("+00:00")
    assert directory.failures == [("policy:1:1: P001 broken",)]
    directory.write("mended")
    await until(lambda: reloader.current == "mended")
    assert reloader.status()["last_error"] is None


async def test_reload_of_a_broken_set_is_tried_once_a_change(directory: Directory, follow: Callable[..., Any]):
    looks: list[str] = []

    def fingerprint() -> str:
        looks.append(directory.fingerprint())
        return looks[-1]

    reloader = await follow(fingerprint=fingerprint)
    directory.write("broken")
    await until(lambda: reloader.status()["failed_reloads"])
    seen = len(looks)
    await until(lambda: len(looks) > seen + 3)  # more looks at the same bytes
    assert directory.loads.count("broken") == 1


async def test_reload_that_goes_back_to_the_serving_set_clears_the_error(
    directory: Directory, follow: Callable[..., Any]
):
    reloader = await follow()
    directory.write("broken")
    await until(lambda: reloader.status()["failed_reloads"])
    directory.write("one")
    await until(lambda: reloader.status()["last_error"] is None)
    assert reloader.current == "one"


async def test_load_that_raises_anything_keeps_the_last_good_one_and_hides_the_text(
    directory: Directory, follow: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    reloader = await follow()
    directory.write("raise")
    await until(lambda: reloader.status()["failed_reloads"])
    assert reloader.current == "one"
    assert "RuntimeError" in reloader.status()["last_error"]
    assert "text of an exception" not in reloader.status()["last_error"]
    assert "text of an exception" in caplog.text


async def test_config_map_symlink_swap_is_taken_up(directory: Directory, follow: Callable[..., Any]):
    root = directory.root
    (root / "policy").unlink()
    for name, text in (("..first", "one"), ("..second", "two")):
        (root / name).mkdir()
        (root / name / "policy").write_text(text)
    (root / "..data").symlink_to("..first")
    (root / "policy").symlink_to("..data/policy")
    reloader = await follow()
    (root / "..data_tmp").symlink_to("..second")
    os.replace(root / "..data_tmp", root / "..data")
    await until(lambda: reloader.current == "two")


async def test_replaced_directory_is_taken_up_and_watched_on(directory: Directory, follow: Callable[..., Any]):
    reloader = await follow()
    fresh = directory.root.with_name("fresh")
    fresh.mkdir()
    (fresh / "policy").write_text("two")
    directory.root.rename(directory.root.with_name("old"))
    fresh.rename(directory.root)
    await until(lambda: reloader.current == "two")
    directory.write("three")
    await until(lambda: reloader.current == "three")


async def test_directory_made_anew_in_the_same_place_is_watched_on(
    directory: Directory, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    # A file system may give the new directory the inode number of the old one.
    monkeypatch.setattr(chassis.reload, "_identity", lambda root: (1, 1) if root.is_dir() else None)
    reloader = await follow(EVENTS_ONLY)
    await write_until_seen(directory, reloader, "before")
    for text in ("after", "again"):
        shutil.rmtree(directory.root)
        directory.root.mkdir()
        directory.write("new")
        await write_until_seen(directory, reloader, text)


async def test_directory_behind_a_symlink_that_is_retargeted_is_taken_up(
    directory: Directory, follow: Callable[..., Any]
):
    target = directory.root.with_name("release-1")
    directory.root.rename(target)
    directory.root.symlink_to(target)
    reloader = await follow()
    newer = directory.root.with_name("release-2")
    newer.mkdir()
    (newer / "policy").write_text("two")
    link = directory.root.with_name("link")
    link.symlink_to(newer)
    os.replace(link, directory.root)
    await until(lambda: reloader.current == "two")


async def test_directory_that_is_gone_for_a_while_keeps_the_last_good_set(
    directory: Directory, follow: Callable[..., Any]
):
    reloader = await follow()
    away = directory.root.with_name("away")
    directory.root.rename(away)
    await until(lambda: reloader.status()["failed_reloads"])
    assert reloader.current == "one"
    assert "No such file" in reloader.status()["last_error"]
    (away / "policy").write_text("two")
    away.rename(directory.root)
    await until(lambda: reloader.current == "two")


async def test_directory_that_never_settles_is_reported(directory: Directory, follow: Callable[..., Any]):
    ticks = itertools.count()
    clock = FakeClock()

    def restless() -> str:
        clock.advance(1.0)
        return str(next(ticks))

    reloader = await follow(fingerprint=restless, clock=clock)
    await until(lambda: reloader.status()["failed_reloads"])
    assert "kept changing for 5 s" in reloader.status()["last_error"]
    assert (reloader.current, directory.loads) == ("one", ["one"])


async def test_directory_that_settles_on_what_is_served_is_no_longer_reported(
    directory: Directory, follow: Callable[..., Any]
):
    ticks = itertools.count()
    clock = FakeClock()
    is_restless = False

    def fingerprint() -> str:
        clock.advance(1.0)
        return str(next(ticks)) if is_restless else "as loaded"

    reloader = await follow(fingerprint=fingerprint, clock=clock)
    is_restless = True
    await until(lambda: reloader.status()["failed_reloads"])
    is_restless = False
    await until(lambda: reloader.status()["last_error"] is None)
    assert reloader.current == "one"


async def test_result_of_a_load_during_which_files_changed_is_thrown_away(
    directory: Directory, follow: Callable[..., Any]
):
    def load() -> Loaded[str]:
        loaded = directory.load()
        if loaded.value == "half":
            directory.write("whole")
        return loaded

    reloader = await follow(load=load)
    directory.write("half")
    await until(lambda: reloader.current == "whole")
    assert ("one", "half") not in directory.swaps
    assert directory.loads == ["one", "half", "whole"]


async def test_watcher_that_fails_falls_back_to_polling(
    directory: Directory, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: Any, **__: Any) -> AsyncIterator[Any]:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr(chassis.reload, "awatch", broken)
    reloader = await follow()
    directory.write("two")
    await until(lambda: reloader.current == "two")
    assert reloader.status()["watching"] == "polling"
    assert caplog.text.count("polling instead") == 1


async def test_hook_that_raises_does_not_undo_the_swap(directory: Directory, follow: Callable[..., Any]):
    def hook(*_: Any) -> None:
        raise RuntimeError

    reloader = await follow(on_swap=hook, on_failure=hook)
    directory.write("broken")
    await until(lambda: reloader.status()["failed_reloads"])
    directory.write("two")
    await until(lambda: reloader.current == "two")


def test_initial_load_of_a_broken_set_raises_its_problems(directory: Directory):
    directory.write("broken")
    reloader = holder(directory)
    with pytest.raises(LoadFailed, match="P001"):
        reloader.load_initial()
    assert not reloader.is_loaded
    with pytest.raises(RuntimeError):
        _ = reloader.current


def test_initial_load_of_a_missing_directory_names_it(directory: Directory):
    (directory.root / "policy").unlink()
    with pytest.raises(LoadFailed, match=r"policies/policy: No such file"):
        holder(directory).load_initial()


async def test_stop_may_come_first_or_twice(directory: Directory):
    reloader = holder(directory)
    await reloader.stop()
    reloader.load_initial()
    await reloader.start()
    await reloader.stop()
    await reloader.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("policy-")]
