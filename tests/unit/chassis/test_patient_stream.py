import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from chassis.patient_stream import CAPACITY, PatientStream

LINE = "x" * 1000 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """Both ends of a pipe: where it is read, and where it is written."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reader, open(writing, "w", encoding="utf-8") as writer:
        yield reader, writer


def tell(lost: int) -> str:
    return f"lost {lost}\n"


def test_text_is_out_before_write_returns_while_the_reader_keeps_up(pipe: tuple[TextIO, TextIO]):
    reader, writer = pipe
    stream = PatientStream(writer, tell)
    for word in ("one\n", "two\n"):
        assert stream.write(word) == len(word)
        assert reader.readline() == word


def test_stalled_reader_stalls_no_writer_and_learns_later_what_was_lost(pipe: tuple[TextIO, TextIO]):
    reader, writer = pipe
    stream = PatientStream(writer, tell)
    for _ in range(3 * CAPACITY):  # 3 MB into a pipe of 64 kB: the thread is stuck in its first write
        stream.write(LINE)

    lines = iter(reader.readline, "")
    read = 0
    while next(lines) == LINE:
        read += 1
    # The line that ended the loop is the first that is not `LINE`: what it says was lost is all that is missing.
    stream.write("after\n")
    assert CAPACITY < read < 3 * CAPACITY
    assert next(lines) == "after\n"


def test_broken_target_raises_nothing(pipe: tuple[TextIO, TextIO]):
    reader, writer = pipe
    stream = PatientStream(writer, tell)
    reader.close()
    stream.write("nobody reads this\n")
    stream.write("nor this\n")


def test_log_of_a_process_is_complete_when_it_ends_at_once():
    code = """
import logging, os
from chassis.logs import setup_logging
setup_logging("x")
logging.getLogger("last").error("words")
os._exit(0)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert '"event":"words"' in run.stderr


def test_log_says_how_many_lines_were_lost():
    code = """
import logging, sys
from chassis.logs import setup_logging
setup_logging("x")
for number in range(4000):
    logging.getLogger("many").error("%s %s", number, "x" * 1000)
print("done", flush=True)
sys.stdin.readline()
logging.getLogger("many").error("after")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"  # although nobody has read a line of stderr
        _, errors = process.communicate("\n", timeout=30)
    assert '"event":"log_lines_lost","lost":' in errors


@pytest.mark.parametrize("speaks", ["logging.getLogger('last').error('words')", "say('words')"], ids=["log", "say"])
def test_reader_that_has_stalled_for_good_keeps_no_process_from_ending(speaks: str):
    code = f"""
import fcntl, logging, os
from chassis.logs import setup_logging
from chassis.patient_stream import say
fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK)
try:
    while True:
        os.write(2, b"x")
except BlockingIOError:
    fcntl.fcntl(2, fcntl.F_SETFL, 0)
setup_logging("x")
{speaks}
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(20) == 0  # without a byte of stderr having been read
        finally:
            process.kill()
