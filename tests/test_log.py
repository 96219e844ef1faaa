"""Lines of messages: levels, dates, faults that repeat."""

from __future__ import annotations

import logging
import re
import sys
import threading

import pytest

from fer_edge import log
from fer_edge.periodic import every


class Told:
    """Lines with a clock that the test winds."""

    def __init__(self):
        self.now, self.lines = 0.0, []
        self.handler = log.Lines(lambda text, level: self.lines.append((level, text)), lambda: self.now)

    def say(self, message, *arguments, level=logging.WARNING):
        record = logging.LogRecord("fer_edge.x", level, __file__, 1, message, arguments, None)
        self.handler.handle(record)

    @property
    def texts(self):
        return [text for _, text in self.lines]


@pytest.fixture
def told():
    one = Told()
    yield one
    one.handler.close()


def test_a_fault_that_comes_again_is_told_once_a_minute_with_a_count(told):
    for second in range(125):
        told.now = float(second)
        told.say("jsonl: %s", "disk full")
    assert told.texts == [
        "jsonl: disk full",
        "jsonl: disk full (59 times more in 60 s)",
        "jsonl: disk full (60 times more in 60 s)",
    ]


def test_the_same_fault_with_other_figures_is_the_same(told):
    for seconds in (1.3, 2.0, 15):
        told.say("camera 0: back after %.1f s", seconds)
    told.now = 61.0
    told.say("another")
    assert told.texts == [
        "camera 0: back after 1.3 s",
        "camera 0: back after 15.0 s (2 times more in 61 s)",
        "another",
    ]


def test_two_cameras_and_two_levels_are_told_apart(told):
    told.say("camera 0: gone")
    told.say("camera 1: gone")
    told.say("camera 1: gone", level=logging.ERROR)
    assert len(told.lines) == 3


def test_a_fault_that_comes_again_later_is_told_at_once(told):
    told.say("gone")
    told.now = 60.0
    told.say("gone")
    assert told.texts == ["gone", "gone"]


def test_what_is_no_fault_is_told_each_time(told):
    for _ in range(3):
        told.say("stats: 3 frames", level=logging.INFO)
    assert told.lines == [(logging.INFO, "stats: 3 frames")] * 3


def test_what_was_counted_is_told_at_the_end(told):
    for _ in range(2):
        told.say("gone")
    told.handler.close()
    assert told.texts == ["gone", "gone (once more in 0 s)"]


def test_what_was_counted_is_told_after_a_while_where_no_other_message_comes(monkeypatch):
    monkeypatch.setattr(log, "AGAIN", 0.05)
    lines, second = [], threading.Event()

    def write(text, level):
        lines.append(text)
        if len(lines) > 1:
            second.set()

    handler = log.Lines(write)
    # Frozen for the two messages, so that a busy machine counts the second as well.
    now = [0.0]
    handler._clock = lambda: now[0]
    record = logging.LogRecord("fer_edge.x", logging.WARNING, __file__, 1, "gone", (), None)
    handler.handle(record)
    handler.handle(record)
    now[0] = 1.0
    assert second.wait(60)
    assert lines == ["gone", "gone (once more in 1 s)"]
    handler.close()


def test_different_faults_without_number_take_no_more_memory(told):
    for number in range(1000):
        told.say(f"fault {number}x")
    assert len(told.handler._faults) <= log._KEPT


def test_names_of_files_cannot_drive_the_terminal(told):
    told.say("%s: damaged", "a\x1b[2Jb")
    assert told.texts == ["a\\x1b[2Jb: damaged"]


def test_levels_are_those_asked_for():
    lines = []
    with log.shown(lambda text, level: lines.append((level, text))):
        logger = logging.getLogger("fer_edge.somewhere")
        logger.debug("hidden")
        logger.info("shown")
        log.set_level("debug")
        logger.debug("shown as well")
        log.set_level("error")
        logger.warning("hidden")
    logger.error("after the end")
    assert lines == [(logging.INFO, "shown"), (logging.DEBUG, "shown as well")]


@pytest.mark.parametrize(
    ("terminal", "journal", "dated"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_lines_have_dates_where_nobody_looks_on(monkeypatch, terminal, journal, dated):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    lines = []
    with log.shown(lambda text, level: lines.append(text)):
        log.date_lines()
        logging.getLogger("fer_edge").warning("gone")
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d warning: gone" if dated else "gone"
    assert re.fullmatch(form, lines[0])


def test_work_beside_a_run_goes_on_after_it_failed(caplog):
    done, calls = threading.Event(), []

    def work():
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no /sys")
        done.set()

    with every(0.01, work, "heat"):
        assert done.wait(60)
    assert "heat: OSError('no /sys')" in caplog.text
    count = len(calls)
    assert not [thread for thread in threading.enumerate() if thread.name == "heat"]
    assert len(calls) == count
