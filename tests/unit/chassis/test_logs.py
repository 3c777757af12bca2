"""Logging of a service process: one event a line, masked, whatever it holds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from chassis.logs import setup_logging

PAN = "4111111111111111"


@pytest.fixture(autouse=True)
def _root_logger_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def written(style: str = "json", level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    setup_logging("extauthz", style=style, level=level, stream=stream)
    return stream


def test_json_event_is_one_line_with_time_level_service_and_extras():
    stream = written()
    logging.getLogger("extauthz.x").info("two\nlines", extra={"revision": "abc", "count": 2})
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "info",
        "service": "extauthz",
        "logger": "extauthz.x",
        "event": "two\nlines",
        "revision": "abc",
        "count": 2,
    }


@pytest.mark.parametrize("style", ["json", "text"])
def test_secrets_are_masked_in_message_extras_and_traceback(style: str):
    stream = written(style)
    try:
        raise RuntimeError(f"failed for {PAN}")
    except RuntimeError:
        logging.getLogger("x").exception("card %s", PAN, extra={"seen": [PAN], "thing": Exception(PAN)})
    (line,) = stream.getvalue().splitlines()
    assert PAN not in line
    assert line.count("[masked card number]") == 4


def test_text_event_cannot_fake_a_second_line():
    stream = written("text")
    logging.getLogger("x").warning("a\nERROR forged\x1b[2J")
    (line,) = stream.getvalue().splitlines()
    assert r"a\nERROR forged\x1b[2J" in line


def test_json_event_that_the_fast_writer_refuses_is_written_all_the_same():
    stream = written()
    logging.getLogger("x").info("lone \ud800", extra={"huge": 2**70})
    assert json.loads(stream.getvalue())["huge"] == 2**70


def test_events_below_the_level_are_left_out_and_the_level_may_be_in_any_case():
    stream = written(level="warning")
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_auto_style_is_json_where_there_is_no_terminal():
    stream = written("auto")
    logging.getLogger("x").warning("e")
    assert json.loads(stream.getvalue())["event"] == "e"


def test_broken_stream_raises_nothing():
    stream = written()
    stream.close()
    logging.getLogger("x").error("nobody reads this")


@pytest.mark.parametrize(("level", "style"), [("LOUD", "json"), ("INFO", "xml")])
def test_unknown_level_or_style_is_refused(level: str, style: str):
    with pytest.raises(ValueError, match="must be"):
        setup_logging("x", level=level, style=style)
