"""How far an archive is, on a terminal and elsewhere."""

import io
import re

import pytest

from fer_edge.archive import progress as module
from fer_edge.archive.archive import Progress
from fer_edge.archive.progress import Teller, bar, seconds_left, told


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that tellers see; a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def half(began=1000.0):
    """Two of five films and half of their bytes, after an hour of film."""
    return Progress(
        films=5, done=2, failed=1, segments=12, seconds=3600, bytes_done=50, bytes_left=50, began=began
    )


def test_rate_and_end_are_told():
    text = told(half(), 600)
    assert text.startswith("2 of 5 films, 1 failed, 12 segments, 1.0 h of film at 6.0 x, 10 min left, until ")
    assert re.search(r"until \S+ \d\d:\d\d$", text)
    assert bar(half(), 600) == f"[{'#' * 12}{'.' * 12}] 50 %  {text}"


def test_before_anything_is_done_no_rate_and_no_end_are_made_up():
    begun = Progress(films=5, bytes_left=100)
    assert seconds_left(begun, 10) is None
    assert told(begun, 10) == "0 of 5 films, 0 segments"
    assert bar(Progress(films=0), 0).startswith(f"[{'.' * 24}] 0 %")


def test_all_that_is_done_leaves_nothing():
    done = Progress(films=5, done=5, segments=9, seconds=60, bytes_done=100, bytes_left=0)
    assert seconds_left(done, 10) is None
    assert bar(done, 10).startswith(f"[{'#' * 24}] 100 %") and "left" not in bar(done, 10)


def test_a_terminal_has_a_bar_that_leaves_nothing_behind(clock):
    stream = Terminal()
    teller = Teller(stream)
    teller.show(half())
    assert stream.getvalue().startswith("\r[")
    drawn = len(stream.getvalue()) - 1
    teller.show(half())
    assert stream.getvalue().count("\r") == 1, "twice a second at most"
    teller.tell("film.mp4: 6 s")
    assert stream.getvalue().endswith(f"\r{' ' * drawn}\rfilm.mp4: 6 s\n")
    clock[0] += 0.6
    teller.show(half())
    teller.end()
    assert stream.getvalue().endswith(" \r")


def test_without_a_terminal_a_line_comes_each_minute(clock):
    stream = io.StringIO()
    teller = Teller(stream)
    for _ in range(121):
        teller.show(half())
        clock[0] += 1
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("2 of 5 films") for line in lines) and "\r" not in stream.getvalue()
