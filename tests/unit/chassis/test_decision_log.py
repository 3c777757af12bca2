"""The decision log: nothing it meets may reach a request; what it loses is counted."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from chassis.record import DecisionLog, time_text
from helpers.waiting import until

CARD = "4111 1111 1111 1111"


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


async def test_records_are_written_in_order_as_json_lines(tmp_path: Path):
    path = tmp_path / "decisions"
    log = DecisionLog(str(path))
    await log.start()
    for number in range(2000):
        log.write({"decision_id": f"{number:032x}"})
    await log.stop()
    assert [int(line["decision_id"], 16) for line in lines(path)] == list(range(2000))
    assert (log.lost, path.stat().st_mode & 0o777) == (0, 0o640)


async def test_records_for_stdout_go_there(capfd: pytest.CaptureFixture[str]):
    log = DecisionLog("-")
    await log.start()
    log.write({"verdict": "deny"})
    await log.stop()
    assert '{"verdict":"deny"}\n' in capfd.readouterr().out


async def test_full_queue_loses_and_counts_without_blocking(tmp_path: Path):
    told: list[int] = []
    log = DecisionLog(str(tmp_path / "decisions"), capacity=10, on_lost=told.append)
    for number in range(15):  # not started: nobody takes anything out
        log.write({"number": number})
    assert (log.lost, told) == (5, [1] * 5)
    await log.start()
    await log.stop()
    assert [line["number"] for line in lines(tmp_path / "decisions")] == list(range(10))


async def test_sink_that_has_stalled_shows_before_a_record_is_lost(tmp_path: Path):
    log = DecisionLog(str(tmp_path / "decisions"), capacity=100)
    for number in range(11):  # not started, which is as slow as a sink can be
        assert not log.is_behind
        log.write({"number": number})
    assert (log.is_behind, log.lost) == (True, 0)
    await log.start()
    await until(lambda: not log.is_behind)
    await log.stop()
    assert log.lost == 0


async def test_sink_that_cannot_be_opened_counts_losses_and_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "absent" / "decisions"
    log = DecisionLog(str(path))
    await log.start()
    for _ in range(3):
        lost = log.lost
        log.write({"a": 1})
        await until(lambda lost=lost: log.lost > lost)
    assert (log.is_failing, caplog.text.count("records are being lost")) == (True, 1)
    path.parent.mkdir()
    log.write({"a": 2})
    await until(lambda: lines(path))
    await log.stop()
    assert (lines(path), log.lost, log.is_failing) == ([{"a": 2}], 3, False)


async def test_full_disk_counts_losses():
    log = DecisionLog("/dev/full")
    await log.start()
    log.write({"a": 1})
    log.write({"a": 2})
    await log.stop()
    assert log.lost == 2


async def test_closed_pipe_counts_losses(tmp_path: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = DecisionLog(str(fifo))
    await log.start()
    log.write({"a": 1})
    await until(lambda: _readable(reader))
    os.close(reader)
    log.write({"a": 2})
    await until(lambda: log.lost == 1)
    # The next attempt opens a pipe without a reader, which blocks; stop is bounded all the same.
    log.write({"a": 3})
    await log.stop(flush_seconds=0.1)
    assert log.lost in (2, 3)
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))  # lets the writing thread go


def _readable(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 100)
    except BlockingIOError:
        return b""


async def test_rotated_file_is_opened_again(tmp_path: Path):
    path = tmp_path / "decisions"
    log = DecisionLog(str(path))
    await log.start()
    log.write({"a": 1})
    await until(lambda: lines(path))
    path.rename(tmp_path / "decisions.1")
    log.write({"a": 2})
    await until(lambda: lines(path))
    await log.stop()
    assert (lines(tmp_path / "decisions.1"), lines(path)) == ([{"a": 1}], [{"a": 2}])


async def test_torn_line_does_not_swallow_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "decisions"
    real_write = os.write
    answers = [lambda fd, text: real_write(fd, text[:5]), _disk_full]

    def write(descriptor: int, text: bytes) -> int:
        return answers.pop(0)(descriptor, text) if answers else real_write(descriptor, text)

    monkeypatch.setattr("chassis.record.os.write", write)
    log = DecisionLog(str(path))
    await log.start()
    log.write({"a": 1})
    await until(lambda: log.lost == 1)
    log.write({"a": 2})
    await log.stop()
    assert path.read_bytes() == b'{"a":\n{"a":2}\n'


def _disk_full(*_: Any) -> int:
    raise OSError(28, "No space left on device")


async def test_record_that_is_no_json_is_lost_alone(tmp_path: Path):
    path = tmp_path / "decisions"
    log = DecisionLog(str(path))
    await log.start()
    log.write({"a": object()})
    log.write({"a": "\ud800"})
    log.write({"a": 3})
    await log.stop()
    assert (lines(path), log.lost) == ([{"a": 3}], 2)


async def test_card_number_is_masked_unless_the_field_is_a_plain_number(tmp_path: Path):
    path = tmp_path / "decisions"
    log = DecisionLog(str(path), plain_fields=frozenset({"used"}))
    await log.start()
    log.write({"detail": f"saw {CARD}", "readings": [{"quota": CARD, "used": CARD.replace(" ", "")}]})
    await log.stop()
    (line,) = lines(path)
    assert line["detail"] == "saw [masked card number]"
    assert line["readings"] == [{"quota": "[masked card number]", "used": "4111111111111111"}]


async def test_write_after_stop_is_counted_and_hooks_may_raise(tmp_path: Path):
    def hook(_: int) -> None:
        raise RuntimeError

    log = DecisionLog(str(tmp_path / "decisions"), on_lost=hook)
    await log.start()
    await log.stop()
    log.write({"a": 1})
    assert log.lost == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "decision-log"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000+00:00"),
        (1_700_000_000.9999, "2023-11-14T22:13:20.999+00:00"),
        (1_700_000_001.25, "2023-11-14T22:13:21.250+00:00"),
        (253_402_300_799.0, "9999-12-31T23:59:59.000+00:00"),
    ],
)
def test_time_of_a_record_is_rfc3339_in_utc_with_milliseconds(seconds: float, text: str):
    assert time_text(seconds) == text
